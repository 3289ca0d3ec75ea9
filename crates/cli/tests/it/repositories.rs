//! The commands for registries: tags, list-tags, repos, digest, instances, referrers, tag and delete.

use serde_json::{Value, json};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::registry::{Features, Registry};
use vmroot_testkit::skip;

use crate::docker_registry::DockerRegistry;
use crate::program::Program;
use crate::samples::{image, index, serve_index};

const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

/// Writes a layout of an image for this machine's usual architecture, and returns its name.
fn layout(program: &Program) -> String {
    let directory = program.path("layout");
    std::fs::create_dir(&directory).unwrap();
    oci_layout::write(&directory, &[(Item::Image(&image("amd64")), Some("v1"))]).unwrap();
    format!("oci:{}:v1", directory.display())
}

#[test]
fn lists_and_tags_of_a_docker_registry() {
    if skip::needs_program("docker-registry") || skip::needs_program("skopeo") {
        return;
    }
    let registry = DockerRegistry::start();
    let program = Program::new();
    let name = |name: &str| format!("{}/{name}", registry.host);
    let remote = |part: &str| format!("docker://{}", name(part));
    registry.copy(DEMO, &remote("team/demo:v1"), &["--all"]);
    registry.copy(&layout(&program), &remote("team/demo:docker"), &["--format=v2s2"]);

    assert_eq!(program.ok(["repos", &registry.host]), "team/demo\n");
    // The registry does not sort them.
    let tags = |repository: &str| {
        let text = program.ok(["tags", repository]);
        let mut tags: Vec<String> = text.lines().map(str::to_owned).collect();
        tags.sort_unstable();
        tags
    };
    assert_eq!(tags(&remote("team/demo")), ["docker", "v1"]);
    assert_eq!(tags(&name("team/demo")), ["docker", "v1"]);
    let judge = registry.skopeo(["list-tags", "--tls-verify=false", &remote("team/demo")]);
    assert_eq!(program.ok(["list-tags", &remote("team/demo")]).as_bytes(), judge.stdout);
    let raw = registry.skopeo(["inspect", "--tls-verify=false", "--raw", &remote("team/demo:v1")]).stdout;
    let digest = program.ok(["digest", &name("team/demo:v1")]);
    assert_eq!(digest.trim(), vmroot_model::Digest::of(&raw).to_string());

    // The same bytes under other tags, also in another repository.
    for (from, to, full) in [
        ("team/demo:v1", "stable".to_owned(), "team/demo:stable"),
        ("team/demo:docker", remote("team/demo:docker2"), "team/demo:docker2"),
        ("team/demo:v1", remote("mirror/demo:v1"), "mirror/demo:v1"),
        ("team/demo:docker", name("mirror/demo:docker"), "mirror/demo:docker"),
    ] {
        let printed = program.ok(["tag", "--quiet", &remote(from), &to]);
        let before = registry.skopeo(["inspect", "--tls-verify=false", "--raw", &remote(from)]).stdout;
        let after = registry.skopeo(["inspect", "--tls-verify=false", "--raw", &remote(full)]).stdout;
        assert_eq!(before, after, "{full}");
        assert_eq!(printed.trim(), vmroot_model::Digest::of(&after).to_string());
    }
    let target = format!("dir:{}", program.path("copy").display());
    registry.copy(&remote("mirror/demo:v1"), &target, &["--all"]);
    assert_eq!(program.ok(["repos", &registry.host]), "mirror/demo\nteam/demo\n");

    // By the time of the config, then by size.
    let instances = program.json(["instances", "--json", &name("team/demo")]);
    let rows = instances.as_array().unwrap();
    assert_eq!(rows.len(), 2, "{instances}");
    let of_index = rows.iter().find(|row| row["digest"] == digest.trim()).unwrap();
    assert_eq!(of_index["tags"], json!(["stable", "v1"]));
    assert_eq!(of_index["created"], "2026-01-01T00:00:00Z");
    assert_eq!(of_index["uploaded"], Value::Null);
    assert!(rows[0]["sizeBytes"].as_u64() < rows[1]["sizeBytes"].as_u64());
    assert_eq!(program.ok(["instances", &name("team/demo")]).lines().count(), 3);

    // Deletion takes all tags of the digest with it.
    assert_eq!(program.ok(["delete", "--quiet", &remote("team/demo:stable")]), digest);
    assert_eq!(tags(&name("team/demo")), ["docker", "docker2"]);
    program.fails(3, ["digest", &name("team/demo:v1")]);
    program.fails(3, ["delete", &name("team/demo:v1")]);
    program.ok(["digest", &name("mirror/demo:v1")]);
}

#[test]
fn archives_list_their_names() {
    if skip::needs_program("skopeo") || skip::needs_program("docker-registry") {
        return;
    }
    let registry = DockerRegistry::start();
    let program = Program::new();
    let named = format!("docker-archive:{}", program.path("named.tar").display());
    let unnamed = format!("docker-archive:{}", program.path("unnamed.tar").display());
    let layout = layout(&program);
    registry.copy(&layout, &format!("{named}:x/y:v1"), &["--additional-tag=localhost:5000/z:v2"]);
    registry.copy(&layout, &unnamed, &[]);
    for name in [&named, &unnamed] {
        let judge = registry.skopeo(["list-tags", name]);
        assert_eq!(program.ok(["list-tags", name]), String::from_utf8(judge.stdout).unwrap());
    }
}

#[test]
fn referrers_are_listed() {
    let registry = Registry::start();
    let reference = serve_index(&registry, &index(), "v1");
    let program = Program::new();
    let digest = program.ok(["digest", &reference]);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/spdx+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": vmroot_model::Digest::of(b"{}"), "size": 2},
        "layers": [], "subject": {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest.trim(), "size": 1},
    });
    let bytes = manifest.to_string().into_bytes();
    let referrer = registry.put_manifest("test/image", None, "application/vnd.oci.image.manifest.v1+json", &bytes);
    let name = format!("docker://{reference}");
    let listed = program.json(["referrers", "--json", &name]);
    assert_eq!(listed[0]["digest"], referrer.to_string(), "{listed}");
    assert!(program.ok(["referrers", &name]).contains("application/spdx+json"));
    assert_eq!(program.json(["referrers", "--json", "--artifact-type=other", &name]), json!([]));
}

#[test]
fn refusals() {
    let registry = Registry::start();
    registry.configure(Features { delete: false, ..Features::default() });
    let reference = serve_index(&registry, &index(), "v1");
    let program = Program::new();
    let digest = program.ok(["digest", &reference]);
    let by_digest = format!("{}/test/image@{}", registry.host(), digest.trim());
    for (code, arguments, message) in [
        (1, vec!["delete", &*reference], "delet"),
        (2, vec!["tags", &*reference], "expected a repository"),
        (2, vec!["list-tags", &*by_digest], "expected a repository"),
        (2, vec!["instances", "oci:/x"], "is not in a registry"),
        (2, vec!["digest", "oci:/x:y"], "is not in a registry"),
        (2, vec!["tag", &*reference, &*by_digest], "a new name has a tag, and no digest"),
        (2, vec!["tag", &*reference, "-bad"], ""),
        (2, vec!["tag", &*reference, "b@d"], ""),
        (2, vec!["repos", "quay.io/x"], "expected the host"),
        (2, vec!["list-tags", "docker-archive:"], ""),
        (3, vec!["list-tags", "docker-archive:/nowhere.tar"], "/nowhere.tar"),
    ] {
        let error = program.fails(code, &arguments);
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    let missing = format!("{}/no/such", registry.host());
    program.fails(3, ["tags", &missing]);
    program.fails(3, ["digest", &missing]);
    // No command has written to the cache.
    assert_eq!(program.ok(["images"]).lines().count(), 1);
    assert!(image("amd64").layers.iter().all(|layer| registry.count(&layer.digest.to_string()) == 0));
}

#[test]
fn results_as_json() {
    let registry = Registry::start();
    let reference = serve_index(&registry, &index(), "v1");
    let program = Program::new();
    let digest = program.ok(["digest", &reference]);
    let digest = digest.trim();
    let stable = format!("{}/test/image:stable", registry.host());
    assert_eq!(program.json(["digest", "--json", &reference]), json!({"reference": &reference, "digest": digest}));
    assert_eq!(
        program.json(["tag", "--json", &reference, "stable"]),
        json!({"source": &reference, "reference": &stable, "digest": digest})
    );
    assert_eq!(program.json(["tags", "--json", &format!("{}/test/image", registry.host())]), json!(["stable", "v1"]));
    assert_eq!(program.json(["repos", "--json", &registry.host()]), json!(["test/image"]));
    assert_eq!(program.json(["delete", "--json", "--quiet", &stable]), json!({"reference": &stable, "digest": digest}));
    let file = program.path("manifest.json");
    std::fs::write(&file, "{}").unwrap();
    let file = file.display().to_string();
    assert_eq!(
        program.json(["manifest-digest", "--json", &file]),
        json!({"file": &file, "digest": vmroot_model::Digest::of(b"{}")})
    );
}

#[test]
fn images_that_other_commands_delete() {
    let program = Program::new();
    for (name, command) in [
        ("vmroot:alpine", "`vmroot rm alpine`"),
        ("containers-storage:alpine", "`podman rmi`"),
        ("docker-daemon:alpine:1", "`docker rmi`"),
        ("oci-archive:a.tar:x", "remove the file"),
    ] {
        let error = program.fails(2, ["delete", name]);
        assert!(error.contains(command), "{error}");
    }
}

#[test]
fn images_of_layouts_are_deleted() {
    let program = Program::new();
    let path = program.path("layout").display().to_string();
    let name = |tag: &str| format!("oci:{path}:{tag}");
    for (tag, arguments) in [("all", &["--all"][..]), ("one", &["--arch=amd64"]), ("same", &["--arch=amd64"])] {
        program.ok(["copy", "--quiet", DEMO, &name(tag)].iter().chain(arguments));
    }
    let blobs = || std::fs::read_dir(format!("{path}/blobs/sha256")).unwrap().count();
    let all = blobs();
    let digest = |tag: &str| program.ok(["inspect", "--format={{.Digest}}", &name(tag)]);
    let one = digest("one");
    // The list has the same image.
    assert_eq!(program.ok(["delete", &name("one")]), one);
    assert_eq!(blobs(), all);
    program.fails(3, ["inspect", &name("one")]);
    let list = digest("all");
    assert_eq!(
        program.json(["delete", "--json", &name("all")]),
        json!({"reference": name("all"), "digest": list.trim()})
    );
    assert!(blobs() < all);
    // The other image is whole.
    program.ok(["copy", "--quiet", &name("same"), &format!("dir:{}", program.path("dir").display())]);
    for (name, code) in [(name("all"), 3), ("oci:/nonexistent:x".to_owned(), 3), (format!("dir:{path}"), 2)] {
        let error = program.fails(code, ["delete", &name]);
        assert!(error.contains(name.split(':').nth(1).unwrap()), "{error}");
    }
}

#[test]
fn debugging_shows_requests_without_secrets() {
    let registry = Registry::start();
    let reference = serve_index(&registry, &index(), "v1");
    let program = Program::new();
    let log = program.run(["--debug", "--creds=me:secret-word", "digest", &reference]).stderr;
    assert!(log.contains(&format!("HEAD http://{}/v2/test/image/manifests/v1: 200, ", registry.host())), "{log}");
    assert!(!log.contains("secret-word"), "{log}");
}
