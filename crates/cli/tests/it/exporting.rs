//! `export`: which forms go where, and what is said of what they lack.

use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{image, serve};

#[test]
fn an_initramfs_to_a_file_or_to_standard_output() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let export = |out: &str, format: &str| program.run(["export", &image, out, "--arch=amd64", "--format", format]);
    let file = program.path("initramfs");
    let answer = export(&file.display().to_string(), "cpio");
    assert!(answer.status.success() && answer.stdout.is_empty(), "{answer}");
    assert!(answer.stderr.contains("xattrs left out, a cpio has none: usr/bin/alias\n"), "{answer}");
    assert!(answer.stderr.contains("times of 1 paths are cut to whole seconds"), "{answer}");
    let plain = fs::read(&file).unwrap();
    assert!(plain.starts_with(b"070701"));
    assert!(export("-", "cpio").stdout == plain);
    let mut unpacked = Vec::new();
    GzDecoder::new(&export("-", "cpio.gz").stdout[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain);
    assert!(export("-", "cpio.zst").stdout.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let message = export("-", "dir").fails(2);
    assert!(message.contains("standard output is for --format tar, tar.gz, tar.zst, cpio, "), "{message}");
}

#[test]
fn how_to_run_it_is_written_beside_any_form() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let expected = program.run(["config", &image, "--arch=amd64"]).stdout;
    assert!(expected.starts_with(b"{\n  \"layers\": ["));
    let config = program.path("config.json").display().to_string();
    for format in ["tar", "cpio", "prebaked"] {
        let out = program.path(format).display().to_string();
        let answer = program.run(["export", &image, &out, "--arch=amd64", "--format", format, "--config-out", &config]);
        assert!(answer.status.success(), "{answer}");
        assert!(fs::read(&config).unwrap() == expected, "{format}");
        fs::remove_file(&config).unwrap();
    }
    // What was under the name stays where the export fails.
    fs::write(&config, "old").unwrap();
    let out = program.path("none/tar").display().to_string();
    program.run(["export", &image, &out, "--arch=amd64", "--format=tar", "--config-out", &config]).fails(1);
    assert_eq!(fs::read(&config).unwrap(), b"old");
}
