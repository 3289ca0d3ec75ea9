//! Images for other platforms: which are used, which are errors, and which notes are printed.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Image, IndexBuilder};
use vmroot_testkit::registry::Registry;

use crate::program::{CommandOutput, Program, wait_until};
use crate::samples::{image, serve, serve_index};

/// Returns two other architectures, and this machine's.
fn architectures() -> [&'static str; 3] {
    match std::env::consts::ARCH {
        "aarch64" => ["s390x", "riscv64", "arm64"],
        _ => ["s390x", "riscv64", "amd64"],
    }
}

/// Returns whether standard error has a note about an image for another architecture.
fn has_platform_note(stderr: &str, other: &str) -> bool {
    let [.., host] = architectures();
    stderr.contains(&format!("is for linux/{other}, not for linux/{host}"))
}

/// Writes one image in each kind of file, and returns the paths and the names with their transport.
fn files(program: &Program, image: &Image) -> Vec<(PathBuf, String)> {
    let layout = program.path("layout");
    fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(image), Some("demo:v1"))]).unwrap();
    // As BuildKit writes it: the only entry is an index of the image and an attestation.
    let nested = program.path("nested");
    fs::create_dir(&nested).unwrap();
    let index = IndexBuilder::new().image(image.clone()).attestation().build();
    oci_layout::write(&nested, &[(Item::Index(&index), Some("demo:v1"))]).unwrap();
    let archive = program.file("oci.tar", oci_layout::archive(&[(Item::Image(image), Some("demo:v1"))]));
    let mut files: Vec<_> = [("oci", layout), ("oci", nested), ("oci-archive", archive)].into();
    for layout in Layout::ALL {
        let bytes = docker_archive::write(&[(image, &["demo:v1"])], layout);
        files.push(("docker-archive", program.file(&format!("{layout:?}.tar"), bytes)));
    }
    files.into_iter().map(|(transport, path)| (path.clone(), format!("{transport}:{}", path.display()))).collect()
}

/// A build for another board is copied to a machine as a file, and loaded without a platform.
#[test]
fn only_image_of_a_file_is_loaded_for_any_platform() {
    let [other, another, _] = architectures();
    let image = image(other);
    let ids = format!("{}\n", image.config_digest);
    let files_of = Program::new();
    for (path, name) in files(&files_of, &image) {
        let program = Program::new();
        let load = |more: &[&str]| program.run(["load", path.to_str().unwrap()].iter().chain(more));
        let message = load(&["--arch", another]).fails(3);
        assert!(message.contains(other) && message.contains(another), "{name}: {message}");
        assert!(program.json(["images", "--json"]).as_array().unwrap().is_empty());

        let answer = load(&[]);
        assert!(has_platform_note(&answer.stderr, other), "{name}: {answer}");
        assert_eq!(answer.ok(), ids, "{name}");
        assert_eq!(load(&["--quiet"]).stderr, "");
        let asked = load(&["--arch", other]);
        assert!(!has_platform_note(&asked.stderr, other), "{name}: no note about a requested platform: {asked}");
        assert_eq!(program.json(["images", "--json"])[0]["platform"], format!("linux/{other}"));
        assert_eq!(program.json(["images", "--json"]).as_array().unwrap().len(), 1, "{name}");

        for verb in [&["pull", &name][..], &["cat", &name, "etc/motd"], &["inspect", &name], &["config", &name]] {
            let answer = program.run(verb);
            assert!(answer.status.success() && has_platform_note(&answer.stderr, other), "{verb:?}: {answer}");
            let message = program.run(verb.iter().chain(&["--arch", another])).fails(3);
            assert!(message.contains(other), "{verb:?}: {message}");
        }
    }
}

/// With several images, none is preferred.
#[test]
fn file_with_images_for_two_other_platforms_is_an_error() {
    let [other, another, _] = architectures();
    let program = Program::new();
    let index = IndexBuilder::new().image(image(other)).image(image(another)).build();
    let file = program.file("two.tar", oci_layout::archive(&[(Item::Index(&index), Some("demo:v1"))]));
    let message = program.fails(3, ["load".as_ref(), file.as_os_str()]);
    assert!(message.contains(other) && message.contains(another), "{message}");
}

/// Only the digest of a manifest names an image for any platform.
#[test]
fn an_image_of_a_registry_must_be_for_this_machine() {
    let [other, another, host] = architectures();
    let registry = Registry::start();
    let program = Program::new();
    let single = serve(&registry, &image(other), "single");
    let message = program.fails(3, ["pull", &single]);
    assert!(message.contains(other) && message.contains(host), "{message}");
    assert!(program.fails(3, ["pull", &single, "--arch", another]).contains(other));
    assert!(program.fails(3, ["pull", &single, "--arch", host]).contains(other));

    let index = IndexBuilder::new().image(image(other)).attestation().build();
    let indexed = serve_index(&registry, &index, "index");
    let message = program.fails(3, ["pull", &indexed]);
    assert!(message.contains(other) && message.contains(host), "{message}");

    let by_digest = format!("{}@{}", single.trim_end_matches(":single"), image(other).manifest.digest);
    for verb in [&["pull", &by_digest][..], &["cat", &by_digest, "etc/motd"]] {
        let answer = program.run(verb);
        assert!(answer.status.success() && has_platform_note(&answer.stderr, other), "{answer}");
    }
}

/// A server for a guest of any architecture takes the only image of a name.
#[test]
fn a_guest_may_be_of_another_architecture() {
    let [other, another, host] = architectures();
    let registry = Registry::start();
    let program = Program::new();
    let single = serve(&registry, &image(other), "single");
    let socket = program.path("socket");
    let serve = ["virtiofs", &single, "--socket", socket.to_str().unwrap()];
    for wanted in [another, host] {
        assert!(program.run(serve.iter().chain(&["--arch", wanted])).fails(3).contains(other));
    }
    let mut child = program.start(serve);
    wait_until("the socket", || socket.exists() || child.try_wait().unwrap().is_some());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let answer: CommandOutput = child.wait_with_output().unwrap().into();
    assert!(has_platform_note(&answer.stderr, other), "{answer}");
}

/// A name stands for the image for this machine. If the cache has it for other platforms only, the error lists these. An
/// id names one image, which is used with a note.
#[test]
fn cached_image_for_another_platform() {
    let [other, another, host] = architectures();
    let registry = Registry::start();
    let index = IndexBuilder::new().image(image(other)).image(image(another)).build();
    let reference = serve_index(&registry, &index, "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch", other]);
    let id = index.images[0].config_digest.to_string();
    let out = program.path("out.tar");
    let prebaked = program.path("prebaked");
    let (out, prebaked) = (out.to_str().unwrap(), prebaked.to_str().unwrap());
    for name in [&reference, &id] {
        let is_id = name == &id;
        for verb in [
            &["cat", name, "etc/motd"][..],
            &["ls", name],
            &["inspect", name],
            &["config", name],
            &["export", name, out, "--format", "tar"],
            &["export", name, prebaked, "--format", "prebaked"],
            &["pull", name],
        ] {
            let answer = program.run(verb.iter().chain(&["--pull=never"]));
            if is_id {
                assert!(answer.status.success() && has_platform_note(&answer.stderr, other), "{verb:?}: {answer}");
            } else {
                let message = answer.fails(3);
                assert!(message.contains(&format!("is here for linux/{other}")), "{verb:?}: {message}");
            }
            let message = program.run(verb.iter().chain(&["--pull=never", "--arch", host])).fails(3);
            assert!(message.contains(&format!("linux/{other}")), "{verb:?}: {message}");
        }
    }
    let baked = format!("prebaked:{prebaked}");
    assert!(has_platform_note(&program.run(["ls", &baked]).stderr, other));
    assert!(program.fails(3, ["ls", &baked, "--arch", host]).contains(other));

    // An image for another platform is pulled. If that fails, the error names the cached ones.
    let cat = |more: &[&str]| program.run(["cat", &reference, "etc/motd"].iter().chain(more));
    assert_eq!(cat(&["--arch", another]).ok(), format!("{another}\n"));
    let message = cat(&["--arch", host]).fails(3);
    assert!(message.contains(&format!("is here for linux/{another}, linux/{other}")), "{message}");
    // Two are in the cache, and neither is for this machine.
    for verb in [
        &["cat", &reference, "etc/motd", "--pull=never"][..],
        &["inspect", &reference, "--pull=never"],
        &["rm", &reference],
    ] {
        let message = program.fails(3, verb);
        assert!(message.contains(&format!("is here for linux/{another}, linux/{other}")), "{verb:?}: {message}");
    }
    assert!(program.fails(3, ["rm", &reference, "--arch", host]).contains(other));
    program.ok(["rm", &reference, "--arch", another]);
    for verb in [&["rm", &reference][..], &["lease", "create", &reference], &["df", &reference]] {
        let message = program.fails(3, verb);
        assert!(message.contains(&format!("is here for linux/{other}")), "{verb:?}: {message}");
    }
    assert_eq!(program.ok(["rm", &reference, "--arch", other]), format!("{reference}\n"));
}

#[test]
fn images_lists_one_platform() {
    let registry = Registry::start();
    let program = Program::new();
    let arm = |variant: &str| {
        let layer = crate::samples::base();
        vmroot_testkit::image::ImageBuilder::new().platform(&format!("linux/arm/{variant}")).layer(&layer).build()
    };
    let images = [image("amd64"), image("arm64"), arm("v6"), arm("v7")];
    let index = images.into_iter().fold(IndexBuilder::new(), IndexBuilder::image).build();
    let reference = serve_index(&registry, &index, "v1");
    for architecture in ["amd64", "arm64", "arm/v6", "arm/v7"] {
        program.ok(["pull", &reference, "--arch", architecture]);
    }
    let listed = |flags: &[&str]| -> Vec<String> {
        let rows = program.json(["images", "--json"].iter().chain(flags));
        rows.as_array().unwrap().iter().map(|row| row["platform"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&[]), ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64"]);
    assert_eq!(listed(&["--arch=aarch64"]), ["linux/arm64"]);
    assert_eq!(listed(&["--platform=linux/arm64/v8"]), ["linux/arm64"]);
    assert_eq!(listed(&["--arch=arm"]), ["linux/arm/v6", "linux/arm/v7"]);
    assert_eq!(listed(&["--platform=linux/arm/v7"]), ["linux/arm/v7"]);
    assert_eq!(listed(&["--arch=s390x"]), [""; 0]);
    assert_eq!(listed(&["--platform=windows/amd64"]), [""; 0]);
    let table = program.ok(["images", "--arch=amd64"]);
    assert_eq!(table.lines().count(), 2, "{table}");
}

/// An index with an EROFS form of each image first, as tools that convert images write it.
#[test]
fn unknown_kinds_of_images_are_skipped() {
    let registry = Registry::start();
    let entry = |architecture: &str, features: &[&str]| json!({"os": "linux", "architecture": architecture, "os.features": features});
    let index = IndexBuilder::new()
        .image(image("s390x"))
        .entry_member("platform", entry("amd64", &["erofs"]))
        .image(image("riscv64"))
        .entry_member("platform", entry("arm64", &["erofs"]))
        .image(image("amd64"))
        .entry_member("platform", entry("amd64", &[]))
        .image(image("arm64"))
        .build();
    let reference = serve_index(&registry, &index, "v1");
    let program = Program::new();
    for architecture in ["amd64", "arm64"] {
        for flag in [format!("--arch={architecture}"), format!("--platform=linux/{architecture}")] {
            assert_eq!(program.ok(["cat", &reference, "etc/motd", &flag]), format!("{architecture}\n"));
        }
    }
}
