//! The options that skopeo has before its verbs, and verbs that only exist for its scripts.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use vmroot_model::Digest;
use vmroot_testkit::registry::Registry;
use vmroot_testkit::skip;

use crate::docker_registry::DockerRegistry;
use crate::program::Program;
use crate::samples::{image, index, serve, serve_index};

#[test]
fn platform_is_overridden_before_or_after_the_verb() {
    let registry = Registry::start();
    let name = format!("docker://{}", serve_index(&registry, &index(), "v1"));
    let program = Program::new();
    let architecture = |before: &[&str], after: &[&str]| {
        let arguments = [before, &["inspect", "--no-tags", "--format={{.Architecture}}"], after, &[&name]].concat();
        program.ok(arguments).trim().to_owned()
    };
    for wanted in ["amd64", "arm64"] {
        let option = format!("--override-arch={wanted}");
        assert_eq!(architecture(&["--insecure-policy", "--override-os", "linux", &option], &[]), wanted);
        assert_eq!(architecture(&[], &[&option]), wanted);
        let copy = program.path(wanted);
        program.ok([&option, "copy", "--quiet", &name, &format!("dir:{}", copy.display())]);
        let manifest: Value = serde_json::from_slice(&fs::read(copy.join("manifest.json")).unwrap()).unwrap();
        let digest = manifest["config"]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let config: Value = serde_json::from_slice(&fs::read(copy.join(digest)).unwrap()).unwrap();
        assert_eq!(config["architecture"], wanted);
    }
    program.fails(3, ["--override-os=plan9", "inspect", &name]);
    program.fails(2, ["--override-arch=arm64", "inspect", "--platform=linux/amd64", &name]);
}

#[test]
fn options_that_cannot_be_honoured_are_refused_with_the_reason() {
    let program = Program::new();
    let message = program.fails(2, ["copy", "--sign-by-sq-fingerprint=x", "oci:a", "oci:b"]);
    assert!(message.contains("Sequoia"), "{message}");
}

#[test]
fn command_timeout_ends_the_work_with_124() {
    // It accepts connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("docker://{}/x:1", silent.local_addr().unwrap());
    let program = Program::new();
    let copy = program.path("copy");
    let destination = format!("dir:{}", copy.display());
    for arguments in [&["inspect", &name][..], &["copy", &name, &destination]] {
        let message = program.fails(124, [&["--command-timeout", "300ms"], arguments].concat());
        assert!(message.contains("--command-timeout"), "{message}");
    }
    assert!(!copy.exists());
    program.fails(2, ["--command-timeout", "soon", "inspect", &name]);
}

#[test]
fn temporary_files_are_in_tmpdir() {
    let registry = Registry::start();
    let name = format!("docker://{}", serve(&registry, &image("amd64"), "v1"));
    let program = Program::new();
    let archive = program.path("archive.tar");
    program.ok(["--override-arch=amd64", "copy", &name, &format!("docker-archive:{}:a:v1", archive.display())]);
    // A compressed archive is decompressed into a temporary file.
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&fs::read(&archive).unwrap()).unwrap();
    let archive = program.file("archive.tar.gz", encoder.finish().unwrap());
    let copy = |directory: &Path| {
        let (from, to) = (format!("docker-archive:{}", archive.display()), program.path("copy").display().to_string());
        let directory = directory.display().to_string();
        program.run(["--tmpdir", &directory, "--override-arch=amd64", "copy", &from, &format!("dir:{to}")])
    };
    let missing = program.path("missing");
    let message = copy(&missing).fails(3);
    assert!(message.contains(&format!("--tmpdir {}", missing.display())), "{message}");
    // It takes no files, which shows that the option has an effect.
    let message = copy("/proc".as_ref()).fails(3);
    assert!(message.contains("temporary file in /proc"), "{message}");
    let present = program.path("present");
    fs::create_dir(&present).unwrap();
    copy(&present).ok();
    assert!(program.path("copy/manifest.json").exists());
    assert_eq!(fs::read_dir(&present).unwrap().count(), 0);
}

#[test]
fn manifest_digest_is_that_of_skopeo() {
    if skip::needs_program("docker-registry") || skip::needs_program("skopeo") {
        return;
    }
    let registry = DockerRegistry::start();
    let program = Program::new();
    let signed =
        concat!(r#"{"schemaVersion":1,"name":"a","tag":"b","architecture":"amd64","fsLayers":[],"history":[]}"#, "\n");
    for (name, text) in [("plain", r#"{"schemaVersion":2}"#), ("schema1", signed)] {
        let file = program.file(name, text).display().to_string();
        let judge = registry.skopeo(["manifest-digest", &file]);
        assert_eq!(program.ok(["manifest-digest", &file]).as_bytes(), judge.stdout, "{name}");
    }
    program.fails(3, ["manifest-digest", "/no/such/file"]);
}

/// A list with an image for each of these platforms.
fn layout_of(program: &Program, name: &str, platforms: &[Value]) -> String {
    let layout = program.path(name);
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let write = |media_type: &str, document: &Value| {
        let bytes = serde_json::to_vec(document).unwrap();
        let digest = Digest::of(&bytes).to_string();
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), &bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let entries = platforms.iter().enumerate().map(|(number, platform)| {
        let config = json!({"architecture": platform["architecture"], "os": platform["os"],
            "config": {"Labels": {"number": number.to_string()}}, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = write("application/vnd.oci.image.config.v1+json", &config);
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": []});
        let mut entry = write("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["platform"] = platform.clone();
        entry
    });
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries.collect::<Vec<_>>()});
    let index = write("application/vnd.oci.image.index.v1+json", &index);
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [index]}).to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    format!("oci:{}", layout.display())
}

#[test]
fn overrides_choose_the_image_that_skopeo_chooses() {
    if skip::needs_program("skopeo") {
        return;
    }
    let program = Program::new();
    let platform = |text: &str| {
        let parts: Vec<&str> = text.split('/').collect();
        let mut platform = json!({"os": parts[0], "architecture": parts[1]});
        if let Some(variant) = parts.get(2) {
            platform["variant"] = json!(variant);
        }
        platform
    };
    let lists = [
        &["linux/arm64", "linux/arm64/v8", "linux/arm/v5", "linux/arm", "linux/arm/v7", "linux/arm/v6", "linux/amd64"]
            [..],
        &["linux/arm64/v9", "linux/arm64/v8", "linux/arm64", "linux/arm/v6", "linux/amd64/v3", "linux/amd64/v2"],
        &["windows/amd64", "linux/s390x", "linux/arm/v8", "linux/arm/v7", "linux/amd64/v1", "linux/amd64"],
    ];
    let mut compared = 0;
    for (number, list) in lists.iter().enumerate() {
        let platforms: Vec<Value> = list.iter().map(|text| platform(text)).collect();
        let layout = layout_of(&program, &format!("list-{number}"), &platforms);
        for os in ["", "windows"] {
            for arch in ["", "amd64", "arm", "arm64", "s390x"] {
                for variant in ["", "v1", "v3", "v6", "v7", "v8", "v9"] {
                    let options = [("os", os), ("arch", arch), ("variant", variant)];
                    // An option without a text is given, too.
                    let options = options.map(|(name, text)| format!("--override-{name}={text}"));
                    let out = |of: &str| program.path(&format!("{of}-{number}-{os}-{arch}-{variant}"));
                    let copy = |out: &Path| {
                        let last =
                            ["copy".to_owned(), "--quiet".to_owned(), layout.clone(), format!("dir:{}", out.display())];
                        [&["--insecure-policy".to_owned()][..], &options, &last].concat()
                    };
                    let (theirs, ours) = (out("skopeo"), out("vmroot"));
                    let judge = Command::new("skopeo").args(copy(&theirs)).output().unwrap();
                    if !judge.status.success() {
                        // vmroot also takes images that run on the platform by another name.
                        continue;
                    }
                    program.ok(copy(&ours));
                    let manifest = |path: &Path| fs::read_to_string(path.join("manifest.json")).unwrap();
                    assert_eq!(manifest(&ours), manifest(&theirs), "{options:?} of {list:?}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 60, "{compared}");
}
