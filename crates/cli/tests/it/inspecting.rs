//! `inspect` with names in transports, and skopeo as the judge.

use serde_json::{Value, json};
use vmroot_testkit::image::oci_layout::{self, Item};
use vmroot_testkit::image::{Format, ImageBuilder};
use vmroot_testkit::registry::{Fault, Registry, Rule};
use vmroot_testkit::skip;

use crate::docker_registry::DockerRegistry;
use crate::program::Program;
use crate::samples::{base, image, index, serve, serve_index, top};

const DEMO: &str = concat!("oci:", env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo:demo");

/// Removes the field `LayersData`, which old versions of skopeo lack.
fn without_layers_data(text: &str) -> String {
    let Some((before, rest)) = text.split_once("    \"LayersData\": [") else { return text.to_owned() };
    let (_, after) =
        if rest.starts_with(']') { rest.split_once(",\n") } else { rest.split_once("\n    ],\n") }.unwrap();
    format!("{before}{after}")
}

/// Removes the line of the digest, or everything but the digests of layers of a manifest.
fn without_digest(text: &str) -> String {
    let manifest: Value = serde_json::from_str(text).unwrap();
    match manifest["layers"].as_array() {
        Some(layers) => layers.iter().map(|layer| layer["digest"].to_string()).collect(),
        None => without_layers_data(text).lines().filter(|line| !line.contains("\"Digest\"")).collect(),
    }
}

/// Writes a layout of an image with values that need care in JSON.
fn odd_image(program: &Program) -> String {
    let odd = ImageBuilder::new()
        .platform("linux/amd64")
        .setting("Env", vec!["A=<b>&'\"", "B=\u{2028}\u{7f}é"])
        .setting("Labels", json!({"<tag>": "a & b", "z": "", "Z": "line\nbreak"}))
        .config_member("created", "2024-05-06T07:08:09.120+02:00")
        .config_member("author", "A <a@b.c>")
        .config_member("docker_version", "20.10")
        .layer(&base())
        .build();
    let bare = ImageBuilder::new().platform("linux/arm64/v8").layer(&top("bare")).build();
    let layout = program.path("odd");
    std::fs::create_dir(&layout).unwrap();
    oci_layout::write(&layout, &[(Item::Image(&odd), Some("odd")), (Item::Image(&bare), Some("bare"))]).unwrap();
    format!("oci:{}", layout.display())
}

#[test]
fn output_equals_that_of_skopeo() {
    if skip::needs_program("docker-registry") || skip::needs_program("skopeo") {
        return;
    }
    let registry = DockerRegistry::start();
    let program = Program::new();
    let odd = odd_image(&program);
    let remote = |name: &str| format!("docker://{}/{name}", registry.host);
    registry.copy(DEMO, &remote("team/demo:v1"), &["--all"]);
    registry.copy(&format!("{odd}:odd"), &remote("team/demo:docker"), &["--format=v2s2"]);
    registry.copy(&format!("{odd}:odd"), &remote("odd:v1"), &[]);
    registry.copy(&format!("{odd}:odd"), &remote("odd:v2"), &["--format=v2s2"]);
    registry.copy(&format!("{odd}:bare"), &remote("odd:bare"), &[]);
    let files = [
        (format!("docker-archive:{}:x/y:v1", program.path("archive.tar").display()), "--all"),
        (format!("oci-archive:{}:v1", program.path("oci.tar").display()), "--all"),
        (format!("dir:{}", program.path("dir").display()), "--all"),
    ];
    for (name, _) in &files {
        registry.copy(&format!("{odd}:odd"), name, &[]);
    }
    let digest = program.ok(["digest", &remote("team/demo:docker")]);
    let mut names = vec![DEMO.to_owned(), format!("{odd}:odd"), format!("{odd}:bare")];
    names.extend(["team/demo:v1", "team/demo:docker", "odd:v1", "odd:v2", "odd:bare"].map(remote));
    names.push(remote(&format!("team/demo@{}", digest.trim())));
    names.extend(files.into_iter().map(|(name, _)| name));
    for name in &names {
        let platform = if name.ends_with("bare") { "arm64" } else { "amd64" };
        for options in [&[][..], &["--no-tags"], &["--raw"], &["--config", "--raw"]] {
            let ours =
                program.run(["inspect", "--quiet", "--arch", platform].iter().chain(options).copied().chain([&**name]));
            assert!(ours.status.success(), "{name} {options:?}: {ours}");
            let global = [&format!("--override-arch={platform}"), "inspect", "--tls-verify=false"];
            let judge = registry.skopeo(global.iter().chain(options).copied().chain([&**name]));
            assert!(judge.status.success(), "{name}: {}", String::from_utf8_lossy(&judge.stderr));
            let (ours, judge) = (String::from_utf8(ours.stdout).unwrap(), String::from_utf8(judge.stdout).unwrap());
            if name.starts_with("docker-archive:") && !options.contains(&"--config") {
                // The archive has no manifest. Each program makes its own, with another digest.
                assert_eq!(without_digest(&ours), without_digest(&judge), "{name} {options:?}");
            } else {
                assert_eq!(without_layers_data(&ours), without_layers_data(&judge), "{name} {options:?}");
            }
        }
        let global = [&format!("--override-arch={platform}"), "inspect", "--tls-verify=false", "--config"];
        let judge = registry.skopeo(global.iter().copied().chain([&**name]));
        let mut judge: Value = serde_json::from_slice(&judge.stdout).unwrap();
        // Old versions of skopeo print an empty config.
        if judge["config"] == json!({}) {
            judge.as_object_mut().unwrap().remove("config");
        }
        assert_eq!(program.json(["inspect", "--config", "--arch", platform, name]), judge, "{name}");
        let template = "{{.Name}} {{.Os}}/{{.Architecture}} {{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}} {{.Env}}";
        let judge = registry.skopeo([global[0], "inspect", "--tls-verify=false", "--format", template, name]);
        let ours = program.ok(["inspect", "--quiet", "--arch", platform, "--format", template, name]);
        assert_eq!(ours, String::from_utf8(judge.stdout).unwrap(), "{name}");
    }
}

#[test]
fn layers_data_config_and_templates() {
    let registry = Registry::start();
    let index = index();
    let reference = serve_index(&registry, &index, "v1");
    let docker = ImageBuilder::new()
        .platform("linux/amd64")
        .format(Format::Docker)
        .config_member("created", Value::Null)
        .layer(&base())
        .build();
    let docker_name = format!("docker://{}", serve(&registry, &docker, "docker"));
    let program = Program::new();
    let name = format!("docker://{reference}");
    let image = &index.images[0];
    let output = program.json(["inspect", "--arch=amd64", &name]);
    let layers: Vec<Value> = image
        .layers
        .iter()
        .map(|layer| {
            json!({"MIMEType": layer.media_type, "Digest": layer.digest.to_string(), "Size": layer.bytes.len(), "Annotations": null})
        })
        .collect();
    assert_eq!(output["LayersData"], json!(layers));
    assert_eq!(output["Digest"], index.document.digest.to_string());
    assert_eq!(output["RepoTags"], json!(["docker", "v1"]));
    assert_eq!((&output["Name"], &output["Labels"]), (&json!(format!("{}/test/image", registry.host())), &Value::Null));
    for layer in &image.layers {
        assert_eq!(registry.count(&layer.digest.to_string()), 0, "inspect reads no layer");
    }
    // Docker's configs have a zero time, OCI's none.
    assert_eq!(program.json(["inspect", &docker_name])["Created"], "0001-01-01T00:00:00Z");
    let format = |format: &str| program.ok(["inspect", "--quiet", "--arch=amd64", "--format", format, &name]);
    assert_eq!(format("{{json .RepoTags}}"), "[\"docker\",\"v1\"]\n");
    assert_eq!(format("{{range .LayersData}}{{.Size}} {{end}}"), {
        image.layers.iter().map(|layer| format!("{} ", layer.bytes.len())).collect::<String>() + "\n"
    });
    assert_eq!(format("json"), program.ok(["inspect", "--arch=amd64", &name]));
    assert_eq!(format("{{.Digest.Algorithm}}"), "sha256\n");
    let config = [
        "inspect",
        "--quiet",
        "--arch=amd64",
        "--config",
        "--format",
        "{{.Config.Env}} {{.OS}} {{len .RootFS.DiffIDs}}",
        &name,
    ];
    assert_eq!(program.ok(config), "[PATH=/usr/bin MODE=test] linux 2\n");
    let sha512 = program.json(["inspect", "--arch=amd64", "--manifest-digest=sha512", &name])["Digest"].clone();
    assert!(sha512.as_str().unwrap().starts_with("sha512:"), "{sha512}");

    // A name without a transport, from the registry and from the cache.
    let plain = program.ok(["inspect", "--arch=amd64", "--format={{.Name}} {{.Os}}", &reference]);
    assert_eq!(plain, format!("{}/test/image linux\n", registry.host()));
    program.ok(["pull", "--arch=amd64", &reference]);
    registry.clear_requests();
    assert_eq!(program.run(["inspect", "--config", "--raw", "--arch=amd64", &reference]).stdout, image.config);
    assert_eq!(program.ok(["inspect", "--arch=amd64", "--format={{.Name}} {{.Os}}", &reference]), plain);
    assert_eq!(registry.requests().len(), 0);
    // vmroot's own description.
    assert_eq!(program.json(["inspect", "--json", "--arch=amd64", &name])["id"], image.config_digest.to_string());
}

#[test]
fn wrong_options_and_templates() {
    let program = Program::new();
    for (arguments, message) in [
        (&["--raw", "--format={{.}}"][..], "--format"),
        (&["--format={{.Nope}}"], "hint: the fields are Name, Tag, Digest, RepoTags"),
        (&["--format={{.Os"], "--format: bad character"),
        (&["--format={{nope}}"], "function \"nope\" not defined"),
        (&["--manifest-digest=md5"], "md5"),
    ] {
        let error = program.fails(2, ["inspect", DEMO, "--arch=amd64"].iter().chain(arguments));
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
}

#[test]
fn registries_may_refuse_to_list_tags() {
    let registry = Registry::start();
    let name = format!("docker://{}", serve(&registry, &image("amd64"), "v1"));
    let program = Program::new();
    let denied = r#"{"errors":[{"code":"DENIED","message":"not authorized: ecr:ListImages"}]}"#;
    for (status, body, tolerated) in [
        (403, denied, true),
        (404, "404 page not found\n", true),
        (403, r#"{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"#, false),
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#, false),
        (501, "no", false),
    ] {
        registry.behave();
        registry.misbehave(Rule::on("/tags/list").fault(Fault::Status(status, Vec::new(), body.to_owned())));
        let answer = program.run(["inspect", "--arch=amd64", &name]);
        assert_eq!(answer.status.success(), tolerated, "{body}: {answer}");
        if tolerated {
            assert!(answer.stderr.contains("does not list its tags"), "{answer}");
            assert!(answer.ok().contains("\"RepoTags\": [],"));
        } else {
            assert!(answer.stderr.contains("--no-tags"), "{answer}");
        }
        program.ok(["inspect", "--arch=amd64", "--no-tags", &name]);
    }
}

#[test]
fn schema1_images() {
    if skip::needs_program("docker-registry") || skip::needs_program("skopeo") {
        return;
    }
    let registry = DockerRegistry::start();
    let program = Program::new();
    let remote = |name: &str| format!("docker://{}/old/{name}", registry.host);
    // Signed by vmroot for a registry, and a manifest with an empty name in a directory.
    let directory = format!("dir:{}", program.path("v2s1").display());
    for name in [&remote("app:v1"), &directory] {
        program.ok(["copy", "--quiet", "--arch=amd64", "--format=v2s1", DEMO, name]);
        for options in [&["inspect"][..], &["inspect", "--no-tags"], &["inspect", "--config"], &["inspect", "--raw"]] {
            // The registry signs the manifest anew for each answer, so the signatures differ.
            let without_signatures = |bytes: &[u8]| {
                let mut value: Value = serde_json::from_slice(bytes).unwrap();
                value.as_object_mut().unwrap().remove("signatures");
                value.as_object_mut().unwrap().remove("LayersData");
                value
            };
            let ours = program.run(options.iter().copied().chain([&**name]));
            let judge = registry.skopeo(options.iter().copied().chain(["--tls-verify=false", name]));
            assert!(judge.status.success(), "{name}: {}", String::from_utf8_lossy(&judge.stderr));
            assert_eq!(without_signatures(&ours.stdout), without_signatures(&judge.stdout), "{name} {options:?}");
        }
        assert_eq!(program.run(["inspect", "--config", "--raw", name]).stdout, b"");
        let template = "{{.Os}}/{{.Architecture}} {{len .Layers}} {{range .LayersData}}{{.Size}}{{end}}";
        assert_eq!(program.ok(["inspect", "--quiet", "--format", template, name]), "linux/amd64 4 -1-1-1-1\n");
        program.fails(2, ["inspect", "--manifest-digest=sha512", name]);
    }
    assert_eq!(program.ok(["inspect", "--quiet", "--format={{.Tag}}", &remote("app:v1")]), "v1\n");

    // skopeo reads what the image becomes in each transport, and finds the same files.
    for (name, format) in [
        (format!("oci:{}:x", program.path("layout").display()), "application/vnd.oci.image.manifest.v1+json"),
        (format!("docker-archive:{}", program.path("x.tar").display()), ""),
        (
            format!("dir:{}", program.path("same").display()),
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
        ),
        (remote("other:v2"), "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    ] {
        let report = program.json(["copy", "--json", &remote("app:v1"), &name]);
        if !format.is_empty() {
            assert_eq!(report["mediaType"], format, "{name}");
        }
        let judge = registry.skopeo(["inspect", "--tls-verify=false", "--config", &name]);
        assert!(judge.status.success(), "{name}: {}", String::from_utf8_lossy(&judge.stderr));
        let config: Value = serde_json::from_slice(&judge.stdout).unwrap();
        assert_eq!(config["config"]["User"], "demo:staff", "{name}");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(4), "{name}");
    }
}
