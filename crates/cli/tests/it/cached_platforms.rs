//! Images that the cache has for several platforms, as sources of copies and of other verbs.

use serde_json::Value;
use vmroot_model::Digest;
use vmroot_testkit::image::IndexBuilder;
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{image, serve_index};

const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

/// Returns a program whose cache has the demo image for these architectures.
fn with_demo(architectures: &[&str]) -> Program {
    let program = Program::new();
    for architecture in architectures {
        program.ok(["pull", "--arch", architecture, DEMO]);
    }
    program
}

/// Copies an image of the cache into a new directory with more arguments, and returns the document there.
fn copied(program: &Program, name: &str, more: &[&str]) -> Value {
    let directory = program.path("copy");
    let _ = std::fs::remove_dir_all(&directory);
    let destination = format!("dir:{}", directory.display());
    program.ok([&["copy", name, &destination], more].concat());
    serde_json::from_slice(&std::fs::read(directory.join("manifest.json")).unwrap()).unwrap()
}

/// Returns the id of the demo image for an architecture.
fn id(architecture: &str) -> String {
    Program::new().ok(["pull", "--arch", architecture, DEMO]).trim().to_owned()
}

#[test]
fn the_image_for_the_platform_is_copied() {
    let program = with_demo(&["amd64", "arm64"]);
    for (options, architecture) in [
        (&["--arch", "arm64"][..], "arm64"),
        (&["--platform", "linux/arm64"], "arm64"),
        (&["--override-arch", "arm64"], "arm64"),
        (&["--platform", "linux/arm64", "--platform", "linux/arm64"], "arm64"),
        (&["--arch", "amd64"], "amd64"),
    ] {
        let manifest = copied(&program, "vmroot:demo", options);
        assert_eq!(manifest["config"]["digest"], id(architecture), "{options:?}");
    }
    let destination = format!("dir:{}", program.path("none").display());
    for options in [&["--arch", "s390x"][..], &["--platform=linux/s390x"], &["--override-arch=s390x"]] {
        let message = program.fails(3, [&["copy", "vmroot:demo", &destination], options].concat());
        assert!(message.contains("s390x") && message.contains("linux/arm64"), "{options:?}: {message}");
    }
    assert!(!program.path("none").exists());
}

#[test]
fn an_image_for_another_platform_only_is_not_copied_for_the_chosen_one() {
    let program = with_demo(&["arm64"]);
    let destination = format!("dir:{}", program.path("copy").display());
    let message = program.fails(3, ["copy", "--arch", "amd64", "vmroot:demo", &destination]);
    assert!(message.contains("linux/arm64"), "{message}");
}

#[test]
fn a_list_survives_the_cache() {
    let registry = Registry::start();
    let index = IndexBuilder::new().image(image("amd64")).image(image("arm64")).build();
    let source = format!("docker://{}", serve_index(&registry, &index, "v1"));
    let program = Program::new();
    let list = format!("dir:{}", program.path("list").display());
    program.ok(["copy", "--all", &source, &list]);
    program.ok(["copy", "--all", &source, "vmroot:demo"]);
    let original = std::fs::read(program.path("list/manifest.json")).unwrap();
    let expected: Value = serde_json::from_slice(&original).unwrap();
    assert_eq!(copied(&program, "vmroot:demo", &["--all"]), expected);
    let both = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    assert_eq!(copied(&program, "vmroot:demo", &both), expected);
    // Images without an index in common become a new one.
    program.ok(["commit", "--arch", "arm64", "demo", "--change", "ENV A=1", "-t", "demo"]);
    let mixed = copied(&program, "vmroot:demo", &["--all"]);
    assert_ne!(mixed, expected);
    let platforms: Vec<&Value> =
        mixed["manifests"].as_array().unwrap().iter().map(|it| &it["platform"]["architecture"]).collect();
    assert_eq!(platforms.len(), 2, "{mixed}");
    assert!(platforms.iter().any(|it| *it == "arm64") && platforms.iter().any(|it| *it == "amd64"), "{mixed}");
}

/// A list of a builder has attestations, which are for no platform.
#[test]
fn a_list_with_attestations_is_stored() {
    let program = Program::new();
    program.ok(["copy", "--all", DEMO, "vmroot:demo"]);
    for architecture in ["amd64", "arm64"] {
        program.ok(["ls", "--pull=never", "--arch", architecture, "demo"]);
    }
}

#[test]
fn a_platform_of_several_must_exist_in_every_verb() {
    let program = with_demo(&["amd64", "arm64"]);
    let layout = DEMO.strip_prefix("oci:").unwrap().strip_suffix(":demo").unwrap();
    let file = program.path("x.tar");
    let destination = format!("dir:{}", program.path("copy").display());
    let options = ["--platform", "linux/amd64", "--platform", "linux/s390x"];
    for verb in [
        &["copy", DEMO, &destination][..],
        &["copy", "vmroot:demo", &destination],
        &["load", layout],
        &["save", "demo", "-o", file.to_str().unwrap()],
        &["pull", DEMO],
    ] {
        let result = program.run([verb, &options].concat());
        assert_eq!(result.status.code(), Some(3), "{verb:?}: {result}");
        assert!(result.stderr.contains("s390x"), "{verb:?}: {result}");
    }
    assert!(!program.path("copy").exists() && !file.exists());
}

#[test]
fn other_verbs_read_the_image_for_the_platform() {
    let program = with_demo(&["amd64", "arm64"]);
    for architecture in ["amd64", "arm64"] {
        let inspected = program.ok(["inspect", "--arch", architecture, "--format", "{{.Architecture}}", "vmroot:demo"]);
        assert_eq!(inspected.trim(), architecture);
        assert_eq!(program.ok(["pull", "--arch", architecture, "vmroot:demo"]).trim(), id(architecture));
    }
}

#[test]
fn a_platform_does_not_go_with_all() {
    let program = Program::new();
    let destination = format!("dir:{}", program.path("copy").display());
    for arguments in [["--arch", "amd64", "copy", "--all"], ["copy", "--all", "--arch", "amd64"]] {
        let message = program.fails(2, [&arguments[..], &[DEMO, &destination]].concat());
        assert!(message.contains("--arch does not go with --all"), "{message}");
    }
    // skopeo accepts this, and copies all.
    let result = program.run(["--override-arch", "arm64", "copy", "--all", DEMO, &destination]);
    assert!(result.stderr.contains("have no effect with --all"), "{result}");
    result.ok();
    let document = std::fs::read(program.path("copy/manifest.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&document).unwrap()["manifests"].as_array().unwrap().len(), 4);
}

#[test]
fn a_list_that_is_there_is_not_written_again() {
    let program = Program::new();
    let (dir, layout) = (program.path("dir"), program.path("layout"));
    for destination in [format!("dir:{}", dir.display()), format!("oci:{}:t", layout.display())] {
        for options in [&["--all"][..], &["--platform=linux/amd64", "--platform=linux/arm64"]] {
            let arguments = [&["copy", "--json", DEMO, &destination], options].concat();
            program.json(&arguments);
            assert_eq!(program.json(&arguments)["present"], true, "{destination} {options:?}");
        }
    }
    // A list without one of its images is completed.
    let manifest = std::fs::read(dir.join("manifest.json")).unwrap();
    let list: Value = serde_json::from_slice(&manifest).unwrap();
    let digest = Digest::parse(list["manifests"][0]["digest"].as_str().unwrap()).unwrap();
    let instance = dir.join(format!("{}.manifest.json", digest.hex()));
    std::fs::remove_file(&instance).unwrap();
    program.ok(["copy", "--all", DEMO, &format!("dir:{}", dir.display())]);
    assert!(instance.exists());
}

#[test]
fn a_dry_run_creates_nothing() {
    let program = Program::new();
    for transport in ["oci", "dir", "oci-archive"] {
        let destination = format!("{transport}:{}", program.path("new/below").display());
        if transport.ends_with("archive") {
            std::fs::create_dir_all(program.path("new")).unwrap();
        }
        program.ok(["copy", "--dry-run", "--arch", "amd64", DEMO, &destination]);
        assert!(!program.path("new/below").exists(), "{transport}");
        assert!(transport.ends_with("archive") || !program.path("new").exists(), "{transport}");
    }
    // Existing files stay as they are.
    let layout = format!("oci:{}", program.path("layout").display());
    program.ok(["copy", "--arch", "amd64", DEMO, &layout]);
    let index = std::fs::read(program.path("layout/index.json")).unwrap();
    program.ok(["copy", "--dry-run", "--arch", "arm64", DEMO, &layout]);
    assert_eq!(std::fs::read(program.path("layout/index.json")).unwrap(), index);
    std::fs::write(program.path("file"), "").unwrap();
    program.fails(1, ["copy", "--dry-run", DEMO, &format!("oci:{}", program.path("file").display())]);
}

#[test]
fn additional_tags_are_for_places_with_several_names() {
    let program = Program::new();
    for destination in [format!("dir:{}", program.path("d").display()), "vmroot:demo".to_owned()] {
        let message = program.fails(2, ["copy", "--additional-tag", "foo:1", DEMO, &destination]);
        assert!(message.contains("docker-archive:"), "{message}");
    }
}
