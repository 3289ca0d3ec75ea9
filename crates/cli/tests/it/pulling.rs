//! `pull`, and pulls by other commands.

use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{by_digest, image, index, serve, serve_index, top};

/// Images of an index are for one architecture each, under any of its names.
#[test]
fn pull_prints_the_id_for_the_architecture() {
    let registry = Registry::start();
    let index = index();
    let reference = serve_index(&registry, &index, "latest");
    let program = Program::new();
    for (flags, number) in [
        (["--arch", "amd64"], 0),
        (["--arch", "x86_64"], 0),
        (["--arch", "arm64"], 1),
        (["--arch", "aarch64"], 1),
        (["--platform", "linux/arm64"], 1),
        (["--platform", "linux/arm64/v8"], 1),
    ] {
        let printed = program.ok(["pull", &reference].iter().chain(&flags));
        assert_eq!(printed, format!("{}\n", index.images[number].config_digest), "{flags:?}");
    }
    // The default tag, and the other architecture besides the first.
    let untagged = reference.trim_end_matches(":latest");
    assert_eq!(program.ok(["cat", untagged, "etc/motd", "--arch=arm64", "--pull=never"]), "arm64\n");
    assert_eq!(program.ok(["cat", untagged, "etc/motd", "--arch=amd64", "--pull=never"]), "amd64\n");
}

#[test]
fn pull_prints_an_id_for_each_reference() {
    let registry = Registry::start();
    let (first, second) = (image("amd64"), image("arm64"));
    let references = [serve(&registry, &first, "first"), serve(&registry, &second, "second")];
    let program = Program::new();
    program.ok(["pull", &references[1], "--arch", "arm64"]);
    let printed = program.run(["pull", &references[0], &references[1], "--arch", "amd64"]);
    // The second image is for another architecture. The id of the first is printed all the same.
    assert_eq!(printed.status.code(), Some(3), "{printed}");
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), format!("{}\n", first.config_digest));
}

#[test]
fn pull_prints_only_ids_on_standard_output() {
    let registry = Registry::start();
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    let answer = program.run(["-vv", "pull", &reference, "--arch", "amd64"]);
    assert_eq!(answer.ok(), format!("{}\n", image.config_digest));
    let json = program.json(["--json", "pull", &reference, "--arch", "amd64"]);
    assert_eq!(json["id"], image.config_digest.to_string());
    assert_eq!(json["reference"], reference);
    assert_eq!(json["digest"], image.manifest.digest.to_string());
    let quiet = program.run(["--quiet", "pull", &reference, "--arch", "amd64"]);
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.ok(), format!("{}\n", image.config_digest));
}

/// `--pull` decides when a tag is resolved again.
#[test]
fn pull_policy_decides_when_a_tag_is_resolved() {
    let registry = Registry::start();
    let old = image("amd64");
    let new = vmroot_testkit::image::ImageBuilder::new().layers([&crate::samples::base(), &top("new")]).build();
    let reference = serve(&registry, &old, "moving");
    let program = Program::new();
    let never = program.fails(3, ["pull", &reference, "--arch=amd64", "--pull=never"]);
    assert!(never.contains("no such image"), "{never}");
    assert_eq!(registry.requests().len(), 0);

    assert_eq!(program.ok(["cat", &reference, "etc/motd", "--arch=amd64"]), "amd64\n");
    serve(&registry, &new, "moving");
    registry.clear_requests();
    assert_eq!(program.ok(["cat", &reference, "etc/motd", "--arch=amd64"]), "amd64\n");
    assert_eq!(
        program.ok(["pull", &reference, "--arch=amd64", "--pull=missing"]).trim(),
        old.config_digest.to_string()
    );
    assert_eq!(registry.requests().len(), 0, "a cached image costs no request");
    assert_eq!(program.ok(["cat", &reference, "etc/motd", "--arch=amd64", "--pull=always"]), "new\n");
    // `pull` resolves it by default.
    serve(&registry, &old, "moving");
    assert_eq!(program.ok(["pull", &reference, "--arch=amd64"]).trim(), old.config_digest.to_string());
    assert_eq!(program.ok(["cat", &reference, "etc/motd", "--arch=amd64"]), "amd64\n");
}

#[test]
fn digest_is_resolved_once() {
    let registry = Registry::start();
    let index = index();
    serve_index(&registry, &index, "v1");
    let program = Program::new();
    let reference = by_digest(&registry, &index.document.digest);
    let id = program.ok(["pull", &reference, "--arch", "arm64"]);
    registry.clear_requests();
    for policy in ["always", "missing", "never"] {
        assert_eq!(program.ok(["pull", &reference, "--arch=arm64", "--pull", policy]), id);
    }
    assert_eq!(program.ok(["cat", &reference, "etc/motd", "--arch=arm64", "--pull=always"]), "arm64\n");
    assert_eq!(registry.requests().len(), 0);
}

/// A name may have both: the digest is used.
#[test]
fn tag_beside_a_digest_is_ignored() {
    let registry = Registry::start();
    let (old, new) = (image("amd64"), image("arm64"));
    let reference = serve(&registry, &old, "v1");
    serve(&registry, &new, "v1");
    let program = Program::new();
    let both = format!("{reference}@{}", old.manifest.digest);
    assert_eq!(program.ok(["pull", &both, "--arch", "amd64"]).trim(), old.config_digest.to_string());
}

/// Only the tag is resolved again.
#[test]
fn pull_of_a_cached_image_costs_one_request() {
    let registry = Registry::start();
    let reference = serve_index(&registry, &index(), "v1");
    let program = Program::new();
    program.ok(["pull", &reference, "--arch", "amd64"]);
    registry.clear_requests();
    program.ok(["pull", &reference, "--arch", "amd64"]);
    let manifests = registry.requests().iter().filter(|request| request.path.contains("/manifests/")).count();
    assert_eq!((manifests, registry.count("/blobs/")), (1, 0));
}
