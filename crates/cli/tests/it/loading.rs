//! `load`: archives and layouts of every kind.

use std::fs;

use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, Image};

use crate::program::Program;
use crate::samples::{image, index};

/// Loads a file and checks the image.
fn check(what: &str, bytes: &[u8], image: &Image, reference: Option<&str>) {
    let program = Program::new();
    let file = program.file("image.tar", bytes);
    let answer = program.run(["load".as_ref(), file.as_os_str(), "--arch=amd64".as_ref()]);
    let stderr = answer.stderr.clone();
    assert_eq!(answer.ok(), format!("{}\n", image.config_digest), "{what}");
    if let Some(reference) = reference {
        assert!(stderr.contains(reference), "{what}: {stderr}");
        assert_eq!(program.ok(["cat", reference, "etc/motd", "--pull=never"]), "amd64\n", "{what}");
    }
    let id = image.config_digest.to_string();
    assert_eq!(program.ok(["ls", &id, "usr/bin"]), "alias\nextra\ntool\n", "{what}");
    let checked = program.ok(["verify"]);
    assert!(checked.ends_with(" 0 damaged\n"), "{what}: {checked}");
}

#[test]
fn archives_of_every_docker_version() {
    let image = image("amd64");
    for layout in Layout::ALL {
        let archive = docker_archive::write(&[(&image, &["demo:v1"])], layout);
        check(&format!("{layout:?}"), &archive, &image, Some("demo:v1"));
    }
}

#[test]
fn compressed_archives() {
    let image = image("amd64");
    let docker = docker_archive::write(&[(&image, &["demo:v1"])], Layout::Docker25);
    let oci = oci_layout::archive(&[(Item::Image(&image), Some("demo:v1"))]);
    for compression in Compression::ALL {
        check(&format!("docker {compression:?}"), &compression.compress(&docker), &image, Some("demo:v1"));
        check(&format!("oci {compression:?}"), &compression.compress(&oci), &image, None);
    }
}

#[test]
fn images_without_a_name_have_an_id() {
    let image = image("amd64");
    for layout in Layout::ALL {
        let archive = docker_archive::write(&[(&image, &[])], layout);
        check(&format!("{layout:?}"), &archive, &image, None);
    }
}

#[test]
fn layouts_and_layout_archives_for_an_architecture() {
    let index = index();
    let program = Program::new();
    let directory = program.path("layout");
    fs::create_dir(&directory).unwrap();
    oci_layout::write(&directory, &[(Item::Index(&index), Some("v1"))]).unwrap();
    let archive = program.file("layout.tar", oci_layout::archive(&[(Item::Index(&index), Some("v1"))]));
    for path in [&directory, &archive] {
        for (number, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
            let arguments = ["load".as_ref(), path.as_os_str(), "--arch".as_ref(), architecture.as_ref()];
            assert_eq!(program.ok(arguments).trim(), index.images[number].config_digest.to_string());
        }
        let message = program.fails(3, ["load".as_ref(), path.as_os_str(), "--arch=s390x".as_ref()]);
        assert!(message.contains("s390x") && message.contains("amd64") && message.contains("arm64"), "{message}");
    }
}

#[test]
fn image_option_selects_one_of_several() {
    let (first, second) = (image("amd64"), image("arm64"));
    let program = Program::new();
    let images: [docker_archive::NamedImage<'_>; 2] = [(&first, &["one:v1", "one:v2"]), (&second, &["two:v1"])];
    for layout in Layout::ALL {
        let file = program.file("images.tar", docker_archive::write(&images, layout));
        let load = |more: &[&str]| program.run(["load", file.to_str().unwrap()].iter().chain(more));
        for (picked, id) in [("one:v1", &first), ("one:v2", &first), ("@0", &first)] {
            let printed = load(&["--arch=amd64", "--image", picked]).ok();
            assert_eq!(printed.trim(), id.config_digest.to_string(), "{layout:?} {picked}");
        }
        let second_only = load(&["--arch=arm64", "--image=@1"]).ok();
        assert_eq!(second_only.trim(), second.config_digest.to_string());
        for picked in ["three:v1", "@2"] {
            let message = load(&["--image", picked]).fails(3);
            assert!(message.contains("one:v1") && message.contains("two:v1"), "{layout:?}: {message}");
        }
    }
    // Both images, which are for the same architecture.
    let both: [docker_archive::NamedImage<'_>; 2] = [(&first, &["one:v1"]), (&first, &["two:v1"])];
    let file = program.file("both.tar", docker_archive::write(&both, Layout::Docker24));
    let printed = program.ok(["load".as_ref(), file.as_os_str(), "--arch=amd64".as_ref()]);
    assert_eq!(printed, format!("{0}\n{0}\n", first.config_digest));
}

#[test]
fn load_reads_standard_input() {
    let image = image("amd64");
    let archive = docker_archive::write(&[(&image, &["demo:v1"])], Layout::Docker24);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let program = Program::new();
        let answer = program.run_with_input(["load", "-", "--arch=amd64"], &compression.compress(&archive));
        assert_eq!(answer.ok().trim(), image.config_digest.to_string(), "{compression:?}");
        assert_eq!(program.ok(["gc", "-n", "--json"]).matches(".tmp").count(), 0);
    }
}

#[test]
fn other_commands_take_archives_by_transport() {
    let (old, new) = (image("amd64"), image("arm64"));
    let program = Program::new();
    let layout = program.path("layout");
    fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&old), Some("v1"))]).unwrap();
    let oci_archive = program.file("oci.tar", oci_layout::archive(&[(Item::Image(&old), Some("v1"))]));
    let docker = docker_archive::write(&[(&old, &["demo:v1"]), (&new, &["other:v1"])], Layout::Docker25);
    let docker = program.file("docker.tar", docker);
    for name in [
        format!("oci:{}", layout.display()),
        format!("oci:{}:v1", layout.display()),
        format!("oci-archive:{}", oci_archive.display()),
        format!("docker-archive:{}:demo:v1", docker.display()),
        format!("docker-archive:{}:@0", docker.display()),
    ] {
        assert_eq!(program.ok(["pull", &name, "--arch=amd64"]).trim(), old.config_digest.to_string(), "{name}");
        assert_eq!(program.ok(["cat", &name, "etc/motd", "--arch=amd64"]), "amd64\n", "{name}");
        let id = &program.json(["inspect", "--json", &name, "--arch=amd64"])["id"];
        assert_eq!(*id, old.config_digest.to_string(), "{name}");
    }
    // Another archive at the same path: its current images count.
    let replaced = docker_archive::write(&[(&new, &["demo:v1"])], Layout::Docker25);
    fs::write(&docker, replaced).unwrap();
    let name = format!("docker-archive:{}", docker.display());
    assert_eq!(program.ok(["cat", &name, "etc/motd", "--arch=arm64"]), "arm64\n");
}

#[test]
fn errors_name_the_archive() {
    let image = image("amd64");
    let archive = docker_archive::write(&[(&image, &["demo:v1"])], Layout::Docker24);
    let program = Program::new();
    let fails = |code: i32, bytes: &[u8], parts: &[&str]| {
        let file = program.file("wrong.tar", bytes);
        let message = program.fails(code, ["load".as_ref(), file.as_os_str(), "--arch=amd64".as_ref()]);
        for part in parts.iter().chain(&["wrong.tar"]) {
            assert!(message.contains(part), "{part}: {message}");
        }
    };
    let gzip = Compression::Gzip.compress(&archive);
    fails(5, &gzip[..gzip.len() / 2], &["truncated gzip"]);
    fails(5, &[&gzip[..100], &[0; 64], &gzip[164..]].concat(), &["gzip"]);
    fails(5, &archive[..archive.len() / 2], &[]);
    fails(5, b"neither a tar nor anything else", &[]);
    fails(5, &[0; 10240], &["manifest.json"]);
    assert_eq!(program.ok(["images"]).lines().count(), 1, "only the header");
}
