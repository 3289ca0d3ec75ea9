//! `save`, and `load` of what it saves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::json;
use vmroot_testkit::dockerd::Dockerd;
use vmroot_testkit::image::docker_archive::{self, Layout};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Compression, Image, ImageBuilder, Index};
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::docker_registry::DockerRegistry;
use crate::program::Program;
use crate::samples::{base, image, index, noisy, serve, top};

const FORMATS: [&str; 3] = ["docker-archive", "docker-archive-v24", "oci-archive"];

/// The number of loads that are killed.
const KILLS: usize = 60;

/// Returns an image whose layers have this compression.
fn compressed(compression: Compression) -> Image {
    ImageBuilder::new().platform("linux/amd64").compression(compression).layer(&base()).layer(&top("amd64")).build()
}

/// Loads an image under a name into an empty cache.
fn with_image(image: &Image, name: &str) -> Program {
    let program = Program::new();
    let archive = program.file("source.tar", oci_layout::archive(&[(Item::Image(image), Some(name))]));
    program.ok(["load", archive.to_str().unwrap()]);
    program
}

/// Saves images and returns the bytes.
fn save(program: &Program, format: &str, names: &[&str]) -> Vec<u8> {
    let answer = program.run(["save", "--format", format].iter().chain(names));
    assert!(answer.status.success(), "{answer}");
    answer.stdout
}

fn load_index(program: &Program, index: &Index, names: &[&str]) {
    let items: Vec<_> = names.iter().map(|name| (Item::Index(index), Some(*name))).collect();
    let archive = program.file("index.tar", oci_layout::archive(&items));
    program.ok(["load", archive.to_str().unwrap(), "--all-platforms"]);
}

/// Runs a tool with a storage of its own.
fn run_tool(program: &Program, tool: &str, arguments: &str) -> String {
    let place = |name: &str| program.path(&format!("{tool}-{name}")).display().to_string();
    let mut command = Command::new(tool);
    let options = ["--root", &place("root"), "--runroot", &place("run"), "--storage-driver", "vfs"];
    command.args(options).args(arguments.split(' ')).env("HOME", place("home"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{tool} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn saved_images_are_loaded_and_saved_as_the_same_bytes() {
    let first = Program::new();
    load_index(&first, &index(), &["example.org/one:v1", "example.org/one:v2"]);
    let single = first.file("single.tar", docker_archive::write(&[(&noisy(3, 10_000), &["two:v1"])], Layout::Docker24));
    first.ok(["load", single.to_str().unwrap()]);
    let plain = first.file("plain.tar", docker_archive::write(&[(&image("arm64"), &[])], Layout::Docker24));
    let id = first.ok(["load", plain.to_str().unwrap()]);
    for names in [&["example.org/one"][..], &["two:v1", "example.org/one:v2"], &[id.trim(), "two:v1"]] {
        for format in FORMATS {
            let saved = save(&first, format, names);
            let second = Program::new();
            let file = second.file("saved.tar", &saved);
            second.ok(["load", file.to_str().unwrap(), "--all-platforms"]);
            assert!(save(&second, format, names) == saved, "{format} {names:?}");
            assert_eq!(second.json(["verify", "--json"])["findings"], json!([]));
        }
    }
}

#[test]
fn load_keeps_all_platforms_and_prints_one_id_for_an_image() {
    let program = Program::new();
    let index = index();
    let archive = program.file("index.tar", oci_layout::archive(&[(Item::Index(&index), Some("demo:v1"))]));
    let printed = program.ok(["load", archive.to_str().unwrap(), "--all-platforms"]);
    assert_eq!(printed.lines().count(), 2, "{printed}");
    let records = program.json(["images", "--json"]);
    assert_eq!(records.as_array().unwrap().len(), 2, "{records}");
    for (number, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
        let own = Program::new();
        let saved = program.path("one.tar");
        program.ok(["save", "demo:v1", "--arch", architecture, "-o", saved.to_str().unwrap()]);
        let id = own.ok(["load", saved.to_str().unwrap()]);
        assert_eq!(id.trim(), index.images[number].config_digest.to_string());
    }
}

#[test]
fn digests_survive_save_load_copy_and_pull() {
    if skip::needs_program("docker-registry") || skip::needs_program("skopeo") {
        return;
    }
    let registry = DockerRegistry::start();
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let image = compressed(compression);
        let saved = save(&with_image(&image, "example.org/demo:v1"), "docker-archive", &["example.org/demo:v1"]);
        let program = Program::new();
        let file = program.file("saved.tar", &saved);
        program.ok(["load", file.to_str().unwrap()]);
        let target = format!("{}/demo:{}", registry.host, format!("{compression:?}").to_lowercase());
        program.ok(["copy", "--preserve-digests", "vmroot:example.org/demo:v1", &format!("docker://{target}")]);
        let other = Program::new();
        other.ok(["pull", &target, "--arch=amd64"]);
        let record = &other.json(["images", "--json"])[0];
        assert_eq!(record["digest"], image.manifest.digest.to_string(), "{compression:?}: {record}");
        assert_eq!(record["id"], image.config_digest.to_string(), "{compression:?}: {record}");
    }
}

#[test]
fn docker_loads_what_save_writes() {
    if Dockerd::is_missing() {
        return;
    }
    let docker = Dockerd::start(&["--storage-driver=vfs"]);
    for (compression, format) in [
        (Compression::Gzip, "docker-archive"),
        (Compression::None, "docker-archive"),
        (Compression::Gzip, "docker-archive-v24"),
        (Compression::Zstd, "docker-archive-v24"),
    ] {
        let what = format!("{compression:?} {format}");
        let image = compressed(compression);
        let program = with_image(&image, "example.org/demo:v1");
        let file = program.file("saved.tar", save(&program, format, &["example.org/demo:v1"]));
        let printed = docker.docker(&["load", "-i", file.to_str().unwrap()]);
        assert_eq!(printed, "Loaded image: example.org/demo:v1", "{what}");
        let id = docker.docker(&["image", "inspect", "--format={{.Id}}", "example.org/demo:v1"]);
        assert_eq!(id, image.config_digest.to_string(), "{what}");
        // And back, with an image without a name.
        docker.docker(&["save", "-o", program.path("back.tar").to_str().unwrap(), "example.org/demo:v1"]);
        docker.docker(&["save", "-o", program.path("id.tar").to_str().unwrap(), &id]);
        for file in ["back.tar", "id.tar"] {
            let other = Program::new();
            assert_eq!(other.ok(["load", program.path(file).to_str().unwrap()]).trim(), id, "{what} {file}");
            assert_eq!(other.ok(["cat", &id, "etc/motd", "--arch=amd64"]), "amd64\n");
        }
        docker.docker(&["rmi", "-f", &id]);
    }
}

/// Reads `manifest.json` of an archive.
fn list_of(program: &Program, bytes: &[u8]) -> serde_json::Value {
    let file = program.file("listed.tar", bytes);
    let output = Command::new("tar").arg("-xOf").arg(file).arg("manifest.json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn parents_survive_in_both_directions() {
    if Dockerd::is_missing() {
        return;
    }
    let docker = Dockerd::start(&["--storage-driver=vfs"]);
    let program = with_image(&image("amd64"), "base:v1");
    let file = program.file("saved.tar", save(&program, "docker-archive", &["base:v1"]));
    docker.docker(&["load", "-i", file.to_str().unwrap()]);
    let container = docker.docker(&["create", "base:v1"]);
    let child = docker.docker(&["commit", &container, "child:v1"]);
    docker.docker(&["rm", &container]);
    let parent = image("amd64").config_digest.to_string();
    let family = program.path("family.tar");
    docker.docker(&["save", "-o", family.to_str().unwrap(), "base:v1", "child:v1"]);
    program.ok(["load", family.to_str().unwrap()]);
    for format in ["docker-archive", "docker-archive-v24"] {
        let saved = save(&program, format, &["base:v1", "child:v1"]);
        let listed = list_of(&program, &saved);
        assert_eq!(listed[1]["Parent"], parent, "{format}: {listed}");
        docker.docker(&["rmi", "child:v1", "base:v1"]);
        let file = program.file("again.tar", saved);
        docker.docker(&["load", "-i", file.to_str().unwrap()]);
        assert_eq!(
            docker.docker(&["inspect", "--format={{.Id}} {{.Parent}}", "child:v1"]),
            format!("{child} {parent}")
        );
        // A parent that is not in the archive is not named.
        let alone = list_of(&program, &save(&program, format, &["child:v1"]));
        assert_eq!(alone[0].get("Parent"), None, "{format}: {alone}");
    }
}

#[test]
fn a_file_and_a_pipe_have_the_same_bytes() {
    for compression in [Compression::Gzip, Compression::None, Compression::Zstd] {
        let program = with_image(&compressed(compression), "demo:v1");
        for format in FORMATS {
            let out = program.path("out.tar");
            program.ok(["save", "demo:v1", "--format", format, "-o", out.to_str().unwrap()]);
            assert!(save(&program, format, &["demo:v1"]) == fs::read(&out).unwrap(), "{compression:?} {format}");
            fs::remove_file(out).unwrap();
        }
    }
}

#[test]
fn several_platforms_are_saved_and_loaded() {
    let first = Program::new();
    load_index(&first, &index(), &["demo:v1"]);
    let ids = |program: &Program| {
        let images = program.json(["images", "--json"]);
        let mut ids: Vec<_> =
            images.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let both = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    for format in FORMATS {
        let answer = first.run(["save", "demo:v1", "--format", format].iter().chain(&both));
        let second = Program::new();
        let saved = second.file("saved.tar", answer.stdout);
        second.ok(["load", saved.to_str().unwrap()].iter().chain(&both));
        assert_eq!(ids(&second), ids(&first), "{format}");
        let one = Program::new();
        one.ok(["load", saved.to_str().unwrap(), "--platform", "linux/arm64"]);
        assert_eq!(ids(&one), [index().images[1].config_digest.to_string()], "{format}");
    }
    let message = first.fails(3, ["save", "demo:v1", "--platform", "linux/amd64", "--platform", "linux/s390x"]);
    assert!(message.contains("linux/s390x"), "{message}");
}

#[test]
fn layers_in_zstd_are_noted_for_older_versions_of_docker() {
    let program = with_image(&compressed(Compression::Zstd), "example.org/demo:v1");
    let save = |format: &str| program.run(["save", "example.org/demo:v1", "--format", format]).stderr;
    assert!(save("docker-archive").contains("--format docker-archive-v24"));
    assert_eq!(save("docker-archive-v24"), "");
    assert_eq!(save("oci-archive"), "");
}

#[test]
fn podman_buildah_and_skopeo_load_what_save_writes() {
    if skip::needs_root() || ["podman", "buildah", "skopeo"].into_iter().any(skip::needs_program) {
        return;
    }
    for compression in [Compression::Gzip, Compression::None, Compression::Zstd] {
        let image = compressed(compression);
        let hex = image.config_digest.hex();
        let program = with_image(&image, "example.org/demo:v1");
        for format in FORMATS {
            let what = format!("{compression:?} {format}");
            let file = program.file("saved.tar", save(&program, format, &["example.org/demo:v1"]));
            let file = file.to_str().unwrap();
            run_tool(&program, "podman", &format!("load -q -i {file}"));
            let listed = run_tool(&program, "podman", "images -a --no-trunc --format {{.ID}}");
            assert_eq!(listed, format!("sha256:{hex}"), "{what}");
            run_tool(&program, "podman", "rmi -f -a");
            let transport = if format == "oci-archive" { format } else { "docker-archive" };
            let policy = program.file("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
            let source = format!("{transport}:{file}");
            let pulled =
                run_tool(&program, "buildah", &format!("pull -q --signature-policy {} {source}", policy.display()));
            assert_eq!(pulled, hex, "{what}");
            let target = program.path("skopeo");
            let copied = Command::new("skopeo")
                .args(["--insecure-policy", "copy", "-q", &source, &format!("dir:{}", target.display())])
                .output()
                .unwrap();
            assert!(copied.status.success(), "{what}: {}", String::from_utf8_lossy(&copied.stderr));
            let manifest: serde_json::Value =
                serde_json::from_slice(&fs::read(target.join("manifest.json")).unwrap()).unwrap();
            assert_eq!(manifest["config"]["digest"], image.config_digest.to_string(), "{what}");
            fs::remove_dir_all(target).unwrap();
        }
    }
}

#[test]
fn one_broken_archive_or_image_loads_none() {
    let program = Program::new();
    let good = program.file("good.tar", docker_archive::write(&[(&image("amd64"), &["one:v1"])], Layout::Docker25));
    let bytes = docker_archive::write(&[(&noisy(1, 50_000), &["two:v1"])], Layout::Docker25);
    let bad = program.file("bad.tar", &bytes[..bytes.len() / 2]);
    program.fails(5, ["load", good.to_str().unwrap(), bad.to_str().unwrap()]);
    assert_eq!(program.json(["images", "--json"]), json!([]));
    // The second image of one archive has another layer than its config says.
    let mut wrong = noisy(1, 5_000);
    wrong.layers[0].tar[1024] ^= 1;
    let both = docker_archive::write(&[(&image("amd64"), &["one:v1"]), (&wrong, &["two:v1"])], Layout::Docker24);
    let both = program.file("both.tar", both);
    let message = program.fails(5, ["load", both.to_str().unwrap()]);
    assert!(message.contains(&wrong.layers[0].diff_id.to_string()), "{message}");
    assert_eq!(program.json(["images", "--json"]), json!([]));
    program.ok(["load", good.to_str().unwrap()]);
    assert_eq!(program.json(["images", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn moved_names_are_reported() {
    let program = with_image(&image("amd64"), "demo:v1");
    let old = image("amd64").config_digest.to_string();
    let new = docker_archive::write(&[(&compressed(Compression::Gzip), &["demo:v1"])], Layout::Docker25);
    let file = program.file("new.tar", new);
    let answer = program.run(["load", "-i", file.to_str().unwrap()]);
    let expected = format!("The image demo:v1 already exists, renaming the old one with ID {old} to empty string\n");
    assert!(answer.stderr.contains(&expected), "{answer}");
    assert!(answer.stderr.contains("Loaded image: demo:v1\n"), "{answer}");
    assert_eq!(program.json(["images", "--json"]).as_array().unwrap().len(), 2, "the old image has no name");
}

#[test]
fn load_can_be_killed_at_any_moment() {
    let source = Program::new();
    let images = [noisy(3, 200_000), noisy(4, 100_000)];
    let bytes = docker_archive::write(&[(&images[0], &["one:v1"]), (&images[1], &["two:v1"])], Layout::Docker25);
    let archive = source.file("images.tar", bytes);
    let load = ["load", archive.to_str().unwrap()];
    let started = Instant::now();
    let expected = Program::new().ok(load);
    let whole = started.elapsed();
    let mut killed = 0;
    for number in 0..KILLS {
        let program = Program::new();
        let mut child = program.command(load).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(whole.mul_f64(number as f64 / KILLS as f64));
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        // A load that was killed at its start made no cache.
        let verified = program.run(["verify", "--json"]);
        if verified.status.code() != Some(3) || !verified.stderr.contains("there is no cache") {
            let verified: serde_json::Value = serde_json::from_str(verified.ok().trim()).unwrap();
            assert_eq!(verified["findings"], json!([]), "{number}");
        }
        let names = program.json(["images", "--json"]).as_array().unwrap().len();
        assert!(names == 0 || names == 2, "{number}: {names} of two images");
        assert_eq!(program.ok(load), expected, "{number}");
        assert_eq!(program.json(["verify", "--json"])["findings"], json!([]), "{number}");
    }
    assert!(killed > 0, "no load was killed");
}

#[test]
fn save_to_a_file_leaves_nothing_behind_on_errors() {
    let program = with_image(&image("amd64"), "demo:v1");
    let out = program.path("out.tar");
    let message = program.fails(3, ["save", "demo:v1", "other:v1", "-o", out.to_str().unwrap()]);
    assert!(message.contains("other:v1"), "{message}");
    assert!(!out.exists());
    // A damaged layer is named, and no file appears.
    let digest = program.json(["inspect", "demo:v1", "--json"])["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = program.cache().join("blobs").join(digest.replace(':', "/"));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let message = program.fails(5, ["save", "demo:v1", "-o", out.to_str().unwrap()]);
    assert!(message.contains(&digest[7..]), "{message}");
    assert!(!out.exists());
    // Pulled images are saved with the digest of the registry.
    let registry = Registry::start();
    let pulled = image("amd64");
    let name = serve(&registry, &pulled, "v1");
    let program = Program::new();
    program.ok(["pull", &name, "--arch=amd64"]);
    let saved = program.file("saved.tar", save(&program, "oci-archive", &[&name]));
    let other = Program::new();
    other.ok(["load", saved.to_str().unwrap()]);
    assert_eq!(other.json(["images", "--json"])[0]["digest"], pulled.manifest.digest.to_string());
    assert!(Path::new(&saved).exists());
}
