//! Layers made to harm, through the whole program.

use std::fs;

use vmroot_testkit::hostile::{Verdict, cases};
use vmroot_testkit::image::ImageBuilder;
use vmroot_testkit::layer::{Entry, Layer};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::tar_builder::{Field, Header, Magic, TarBuilder, typeflag};

use crate::program::{Answer, Program};
use crate::samples::serve;

/// Levels of directories: their path is longer than any system call takes.
const LEVELS: usize = 4_000;

#[test]
fn every_hostile_tar_is_refused_by_name_or_read() {
    let program = Program::new();
    for case in cases() {
        let tar = program.file("layer.tar", &case.tar);
        let out = program.path("out");
        let answer = program.run(["layer".as_ref(), "index".as_ref(), tar.as_os_str(), "-o".as_ref(), out.as_os_str()]);
        let is_done = answer.status.success();
        match case.verdict {
            // Whether a link's target is there is known only when all layers are.
            Verdict::Refused if answer.status.success() => assert!(case.name.contains("link"), "{}", case.name),
            Verdict::Refused => drop(message_of_refusal(answer)),
            Verdict::Same(_) => drop(answer.ok()),
            Verdict::Survived => assert!(matches!(answer.status.code(), Some(0 | 5 | 6)), "{}: {answer}", case.name),
        }
        // A layer that is refused leaves no directory.
        assert_eq!(out.exists(), is_done, "{}", case.name);
        let _ = fs::remove_dir_all(&out);
    }
}

/// Gives the message of what is refused: a limit has an exit code of its own, and its message says so.
fn message_of_refusal(answer: Answer) -> String {
    let code = if answer.stderr.contains("the limit ") { 6 } else { 5 };
    answer.fails(code)
}

/// What is refused in a layer fails its image, and leaves nothing.
#[test]
fn an_image_with_a_hostile_layer_is_refused_whole() {
    let registry = Registry::start();
    let program = Program::new();
    let refused = cases().into_iter().filter(|case| matches!(case.verdict, Verdict::Refused));
    for case in refused {
        let good = Layer::new([Entry::file("file", "text")]);
        let image = ImageBuilder::new().layer(&good).layer_tar(case.tar).build();
        let reference = serve(&registry, &image, "hostile");
        let message = message_of_refusal(program.run(["pull", &reference, "--arch=amd64"]));
        let layer = image.layers[1].digest.to_string();
        assert!(message.contains(&layer) || message.contains("hard link"), "{}: {message}", case.name);
        assert_eq!(program.ok(["images"]).lines().count(), 1, "nothing but the header");
    }
    program.ok(["gc"]);
    assert_eq!(program.json(["df", "--json"])["layers"]["files"], 0);
}

#[test]
fn thousands_of_levels_of_directories() {
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
    // The temporary directory is removed by a program that can: paths this long are none to the standard library.
    let removed = std::process::Command::new("rm").arg("-rf").arg(&exported).status().unwrap();
    assert!(removed.success());
}

/// A tar that says more than it has.
#[test]
fn a_size_is_believed_when_the_bytes_are_there() {
    let program = Program::new();
    let header = |size: i128| {
        let header = Header::new(Magic::Gnu, typeflag::FILE).name(b"file").mode(0o644);
        TarBuilder::new().header(&header.base_256(Field::SIZE, size)).clone().finish()
    };
    for size in [1 << 20, 1 << 35, 1 << 62, i128::from(i64::MAX), i128::from(u64::MAX), -1] {
        let tar = program.file("layer.tar", header(size));
        let out = program.path("out");
        let arguments = ["layer".as_ref(), "index".as_ref(), tar.as_os_str(), "-o".as_ref(), out.as_os_str()];
        let message = message_of_refusal(program.run(arguments));
        assert!(message.contains("file") || message.contains("byte"), "{size}: {message}");
        assert!(!out.exists(), "{size}");
    }
}
