//! `export`: outputs of each format, and reports of omissions.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::Command;

use flate2::read::GzDecoder;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::program::{CommandOutput, Program};
use crate::samples::{image, serve};

#[test]
fn initramfs_to_a_file_and_to_standard_output() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let export = |out: &str, format: &str| program.run(["export", &image, out, "--arch=amd64", "--format", format]);
    let file = program.path("initramfs");
    let answer = export(&file.display().to_string(), "cpio");
    assert!(answer.status.success() && answer.stdout.is_empty(), "{answer}");
    assert!(answer.stderr.contains("usr/bin/alias: xattr \"user.origin\" (a cpio has none)\n"), "{answer}");
    assert!(answer.stderr.contains("1 time is cut to whole seconds"), "{answer}");
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

/// A registry's image of another platform goes straight to a file, whose name says the format.
#[test]
fn format_is_that_of_the_name() {
    let registry = Registry::start();
    let image = serve(&registry, &image("arm64"), "v1");
    let program = Program::new();
    let export = |name: &str| {
        let out = program.path(name);
        program.ok(["export", "--platform=linux/arm64", &image, &out.display().to_string()]);
        fs::read(out).unwrap()
    };
    let plain = export("out.tar");
    let mut unpacked = Vec::new();
    GzDecoder::new(&export("out.tar.gz")[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain);
    assert!(program.run(["export", "--platform=linux/arm64", &image, "-"]).stdout == plain);
    let message = program.fails(2, ["export", &image, &program.path("out").display().to_string()]);
    assert!(message.contains("--format"), "{message}");
}

#[test]
fn json_has_the_bytes_of_each_output_and_the_files_beside_it() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    for format in ["prebaked", "dir", "tar", "tar.gz", "cpio.zst", "erofs", "erofs-meta", "ext4"] {
        let out = program.path("json").join(format);
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        let report =
            program.json(["export", &image, out.to_str().unwrap(), "--arch=amd64", "--json", "--format", format]);
        let metadata = fs::metadata(&out).unwrap();
        let bytes = report["bytes"].as_u64().unwrap();
        assert!(if metadata.is_dir() { bytes > 0 } else { bytes == metadata.len() }, "{format}: {report}");
        let beside: Vec<_> = match format {
            "erofs-meta" => {
                [".head", ".devices", ".vmdk", ".rdonly.vmdk"].map(|end| format!("{}{end}", out.display())).into()
            }
            _ => Vec::new(),
        };
        assert_eq!(report["files"], serde_json::json!(beside), "{format}");
        assert!(report["omissions"].is_array() && report["total"].is_u64() && report["cutTimes"].is_u64(), "{report}");
    }
}

#[test]
fn config_out_works_with_every_format() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
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
    // A failed export keeps an existing file.
    fs::write(&config, "old").unwrap();
    let out = program.path("none/tar").display().to_string();
    program.run(["export", &image, &out, "--force", "--arch=amd64", "--format=tar", "--config-out", &config]).fails(3);
    assert_eq!(fs::read(&config).unwrap(), b"old");
    let message = program.run(["export", &image, &config, "--format=tar", "--config-out", &config]).fails(2);
    assert!(message.contains("--config-out") && fs::read(&config).unwrap() == b"old", "{message}");
}

#[test]
fn ext4_with_free_space_and_a_journal() {
    if skip::needs_program("e2fsck") {
        return;
    }
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let out = program.path("ext4");
    let export = |options: &[&str]| {
        let arguments = ["export", &image, out.to_str().unwrap(), "--force", "--arch=amd64", "--format=ext4"];
        program.run(arguments.iter().copied().chain(options.iter().copied()))
    };
    let made = |options: &[&str]| {
        let answer = export(options);
        assert!(answer.status.success() && answer.stdout.is_empty(), "{answer}");
        let checked = Command::new("e2fsck").arg("-fn").arg(&out).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        fs::metadata(&out).unwrap().len()
    };
    let smallest = made(&[]);
    assert!(smallest < 1 << 20, "{smallest}");
    assert!(made(&["--free=20M"]) > 20 << 20);
    assert_eq!(made(&["--size=64M", "--journal", "--label=root"]), 64 << 20);
    let message = export(&["--size=100K"]).fails(1);
    let expected = format!("{}: 102400 bytes are too few: {smallest} are needed", out.display());
    assert!(message.contains(&expected), "{message}");
    assert_eq!(fs::metadata(&out).unwrap().len(), 64 << 20, "the existing file is kept");
    let message = program.run(["export", &image, "x", "--format=tar", "--size=1G"]).fails(2);
    assert!(message.contains("--size is for --format ext4"), "{message}");
}

#[test]
fn squashfs_and_its_omissions() {
    if skip::needs_program("sqfstar") {
        return;
    }
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    let out = program.path("squashfs");
    let export = ["export", &image, out.to_str().unwrap(), "--arch=amd64", "--format=squashfs"];
    let answer = program.run(export);
    assert!(answer.status.success() && answer.stdout.is_empty(), "{answer}");
    assert!(answer.stderr.contains("1 time is cut to whole seconds"), "{answer}");
    assert!(fs::read(&out).unwrap().starts_with(b"hsqs"));

    let export = ["export", "-f", &image, out.to_str().unwrap(), "--arch=amd64", "--format=squashfs"];
    fs::write(&out, "old").unwrap();
    let nothing = tempfile::tempdir().unwrap();
    let message = CommandOutput::from(program.command(export).env("PATH", nothing.path()).output().unwrap()).fails(1);
    assert!(message.contains("sqfstar is missing\nhint: install squashfs-tools, 4.5 or later"), "{message}");
    assert_eq!(fs::read(&out).unwrap(), b"old");
    let left: Vec<_> = fs::read_dir(out.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with(".tmp-")), "{left:?}");
}

/// Existing files are replaced only on request. Pipes and devices that are not disks are written to.
#[test]
fn existing_outputs_are_kept() {
    let registry = Registry::start();
    let image = serve(&registry, &image("amd64"), "v1");
    let program = Program::new();
    program.ok(["pull", &image, "--arch=amd64"]);
    let at = |name: &str| program.path(name).display().to_string();
    let export = |out: &str, options: &[&str]| {
        program.run(["export", &image, out, "--arch=amd64", "--quiet"].iter().chain(options))
    };
    program.file("file", "old");
    symlink("file", program.path("link")).unwrap();
    symlink("nowhere", program.path("dangling")).unwrap();
    program.file("meta.vmdk", "old");
    fs::create_dir(program.path("full")).unwrap();
    program.file("full/kept", "old");
    for (out, format, what) in [
        ("file", "tar", "file: a file"),
        ("file", "cpio.gz", "file: a file"),
        ("file", "erofs", "file: a file"),
        ("file", "ext4", "file: a file"),
        ("file", "squashfs", "file: a file"),
        ("link", "tar", "link: a symbolic link"),
        ("dangling", "tar", "dangling: a symbolic link"),
        ("meta", "erofs-meta", "meta.vmdk: a file"),
        ("full", "prebaked", "full: is not empty"),
    ] {
        let message = export(&at(out), &["--format", format]).fails(1);
        assert!(message.contains(what) && message.contains("--force"), "{out} {format}: {message}");
    }
    let message = export(&at("new"), &["--format=tar", "--config-out", &at("file")]).fails(1);
    assert!(message.contains("file: a file of this name exists"), "{message}");
    assert!(!program.path("new").exists());
    let message = export(&at("full"), &["--format=dir", "--force"]).fails(1);
    assert!(message.contains("not empty"), "{message}");
    assert_eq!(fs::read_to_string(program.path("file")).unwrap(), "old");

    let tar = export("-", &["--format=tar"]).stdout;
    export(&at("link"), &["--format=tar", "--force", "--config-out", &at("dangling")]).ok();
    assert!(fs::read(program.path("file")).unwrap() == tar, "the target of the link is replaced");
    assert!(fs::symlink_metadata(program.path("link")).unwrap().is_symlink());
    export(&at("full"), &["--format=prebaked", "-f"]).ok();
    assert!(program.path("full/kept").exists() && program.path("full/config.json").exists());
    export("/dev/null", &["--format=tar"]).ok();
}
