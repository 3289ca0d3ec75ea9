//! Hostile layers, through the whole program.

use std::fs;

use vmroot_testkit::hostile::{Verdict, cases};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::tar_builder::{Field, Header, Magic, TarBuilder, typeflag};

use crate::program::{CommandOutput, Program};
use crate::samples::serve;

/// Levels of directories. Their path is longer than any system call accepts.
const LEVELS: usize = 4_000;

#[test]
fn hostile_tars_are_rejected_or_read() {
    let program = Program::new();
    for case in cases() {
        let tar = program.file("layer.tar", &case.tar);
        let out = program.path("out");
        let answer = program.run(["layer".as_ref(), "index".as_ref(), tar.as_os_str(), "-o".as_ref(), out.as_os_str()]);
        let is_done = answer.status.success();
        match case.verdict {
            // Whether a hard link's target exists is known only once all layers are merged.
            Verdict::Refused if answer.status.success() => assert!(case.name.contains("link"), "{}", case.name),
            Verdict::Refused => drop(rejection_message(answer)),
            Verdict::Same(_) => drop(answer.ok()),
            Verdict::Survived => assert!(matches!(answer.status.code(), Some(0 | 5 | 6)), "{}: {answer}", case.name),
        }
        // A rejected layer leaves no directory.
        assert_eq!(out.exists(), is_done, "{}", case.name);
        let _ = fs::remove_dir_all(&out);
    }
}

/// Returns the message of a rejected layer. If the message names a limit, the exit code must be 6, else 5.
fn rejection_message(answer: CommandOutput) -> String {
    let code = if answer.stderr.contains("the limit ") { 6 } else { 5 };
    answer.fails(code)
}

/// A hostile layer fails its whole image, which leaves no files.
#[test]
fn image_with_a_hostile_layer_is_rejected() {
    let registry = Registry::start();
    let program = Program::new();
    let rejected = cases().into_iter().filter(|case| matches!(case.verdict, Verdict::Refused));
    for case in rejected {
        let good = Layer::new([Entry::file("file", "text")]);
        let image = ImageBuilder::new().layer(&good).layer_tar(case.tar).build();
        let reference = serve(&registry, &image, "hostile");
        let message = rejection_message(program.run(["pull", &reference, "--arch=amd64"]));
        let layer = image.layers[1].digest.to_string();
        assert!(message.contains(&layer) || message.contains("hard link"), "{}: {message}", case.name);
        assert_eq!(program.ok(["images"]).lines().count(), 1, "only the header");
    }
    program.ok(["gc"]);
    assert_eq!(program.json(["df", "--json"])["layers"]["files"], 0);
}

#[test]
fn directories_of_thousands_of_levels() {
    let mut tar = TarBuilder::new();
    let mut path = String::new();
    for _ in 0..LEVELS {
        path.push_str("d/");
        tar.gnu_long_name(path.as_bytes());
        tar.header(&Header::new(Magic::Gnu, typeflag::DIRECTORY).name(b"d").mode(0o755));
    }
    let image = ImageBuilder::new().layer_tar(tar.finish()).layer(&Layer::new([Entry::file("top", "")])).build();
    let registry = Registry::start();
    let reference = serve(&registry, &image, "deep");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch=amd64"]);
    assert_eq!(program.ok(["ls", "-R", &reference]).lines().count(), LEVELS + 1);
    assert_eq!(program.ok(["verify"]).lines().count(), 1);
    let exported = program.path("exported");
    program.ok(["export", &reference, exported.to_str().unwrap(), "--format=dir"]);
    let tar = program.run(["export", &reference, "-", "--format=tar"]);
    assert!(tar.status.success() && tar.stdout.len() > LEVELS * 512);
    // By rm(1): the standard library cannot remove paths of this length.
    let removed = std::process::Command::new("rm").arg("-rf").arg(&exported).status().unwrap();
    assert!(removed.success());
}

/// Headers whose size is larger than the tar.
#[test]
fn declared_size_beyond_the_tar_is_an_error() {
    let program = Program::new();
    let header = |size: i128| {
        let header = Header::new(Magic::Gnu, typeflag::FILE).name(b"file").mode(0o644);
        TarBuilder::new().header(&header.base_256(Field::SIZE, size)).clone().finish()
    };
    for size in [1 << 20, 1 << 35, 1 << 62, i128::from(i64::MAX), i128::from(u64::MAX), -1] {
        let tar = program.file("layer.tar", header(size));
        let out = program.path("out");
        let arguments = ["layer".as_ref(), "index".as_ref(), tar.as_os_str(), "-o".as_ref(), out.as_os_str()];
        let message = rejection_message(program.run(arguments));
        assert!(message.contains("file") || message.contains("byte"), "{size}: {message}");
        assert!(!out.exists(), "{size}");
    }
}
