//! `images`, `inspect`, `config`, and names of images.

use serde_json::json;
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{image, index, noisy, serve, serve_index};

#[test]
fn inspect_prints_the_same_from_cache_and_registry() {
    let registry = Registry::start();
    let index = index();
    let reference = serve_index(&registry, &index, "v1");
    let program = Program::new();
    let image = &index.images[1];
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| {
            json!({
                "mediaType": layer.media_type,
                "digest": layer.digest.to_string(),
                "diffId": layer.diff_id.to_string(),
                "size": layer.bytes.len(),
            })
        })
        .collect();
    let expected = json!({
        "id": image.config_digest.to_string(),
        "reference": reference,
        "digest": index.document.digest.to_string(),
        "manifest": image.manifest.digest.to_string(),
        "platform": "linux/arm64",
        "layers": layers,
        "config": serde_json::from_slice::<serde_json::Value>(&image.config).unwrap(),
    });
    assert_eq!(program.json(["inspect", "--json", &reference, "--arch=arm64"]), expected);
    for layer in &image.layers {
        assert_eq!(registry.count(&layer.digest.to_string()), 0, "inspect pulls no layer");
    }
    assert_eq!(program.ok(["images"]).lines().count(), 1, "only the header");

    program.ok(["pull", &reference, "--arch=arm64"]);
    registry.clear_requests();
    assert_eq!(program.json(["inspect", "--json", &reference, "--arch=arm64"]), expected);
    assert_eq!(program.json(["inspect", "--json", &image.config_digest.to_string()]), expected);
    assert_eq!(registry.requests().len(), 0);
    assert_eq!(program.json(["inspect", "--json", "--remote", &reference, "--arch=arm64"]), expected);
    assert_ne!(registry.requests().len(), 0);

    let text = program.ok(["inspect", &reference, "--arch=arm64"]);
    for part in [&image.config_digest.to_string(), "linux/arm64", "MODE=test", "/usr/bin/tool", "2 layers"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn config_prints_how_to_run_the_image() {
    let registry = Registry::start();
    let image = image("amd64");
    let reference = serve(&registry, &image, "v1");
    let program = Program::new();
    // Without the layers, the names of users are not resolved.
    let remote = program.json(["config", &reference, "--arch=amd64"]);
    for layer in &image.layers {
        assert_eq!(registry.count(&layer.digest.to_string()), 0, "config pulls no layer");
    }
    assert_eq!((&remote["user"], &remote["uid"]), (&json!("app:staff"), &serde_json::Value::Null));
    let raw = program.run(["config", "--raw", &reference, "--arch=amd64"]);
    assert_eq!(raw.stdout, image.config);

    program.ok(["pull", &reference, "--arch=amd64"]);
    let config = program.json(["config", &reference, "--arch=amd64"]);
    assert_eq!(config["entrypoint"], json!(["/usr/bin/tool"]));
    assert_eq!(config["env"], json!(["PATH=/usr/bin", "MODE=test"]));
    assert_eq!(config["workingDir"], "/etc");
    assert_eq!((&config["user"], &config["uid"], &config["gid"]), (&json!("app:staff"), &json!(1000), &json!(1001)));
    assert_eq!(config["architecture"], "amd64");
    let raw = program.run(["config", "--raw", &reference, "--arch=amd64"]);
    assert_eq!(raw.stdout, image.config);
}

#[test]
fn images_lists_the_cache() {
    let registry = Registry::start();
    let index = index();
    let reference = serve_index(&registry, &index, "v1");
    let other = serve(&registry, &index.images[0], "v2");
    let program = Program::new();
    assert_eq!(program.ok(["images"]).split_whitespace().next(), Some("REFERENCE"));
    assert_eq!(program.json(["images", "--json"]), json!([]));
    for (reference, architecture) in [(&reference, "arm64"), (&reference, "amd64"), (&other, "amd64")] {
        program.ok(["pull", reference, "--arch", architecture]);
    }
    let rows = program.json(["images", "--json"]);
    let row = |number: usize| {
        let row = &rows[number];
        [&row["reference"], &row["platform"], &row["id"]].map(|value| value.as_str().unwrap().to_owned())
    };
    let ids = [0, 1].map(|number| index.images[number].config_digest.to_string());
    assert_eq!(rows.as_array().unwrap().len(), 3);
    assert_eq!(row(0), [reference.clone(), "linux/amd64".into(), ids[0].clone()]);
    assert_eq!(row(1), [reference.clone(), "linux/arm64".into(), ids[1].clone()]);
    assert_eq!(row(2), [other.clone(), "linux/amd64".into(), ids[0].clone()]);
    let text = program.ok(["images"]);
    assert!(text.contains(&ids[1]["sha256:".len()..][..12]), "{text}");
}

#[test]
fn unique_prefixes_of_ids_are_accepted() {
    let registry = Registry::start();
    let program = Program::new();
    let images: Vec<_> = (1..=17).map(|layers| noisy(layers, 64)).collect();
    for (number, image) in images.iter().enumerate() {
        program.ok(["pull", &serve(&registry, image, &format!("v{number}")), "--arch=amd64"]);
    }
    let hex = images[0].config_digest.hex();
    for name in [&hex, &hex[..12], &format!("sha256:{hex}"), &format!("sha256:{}", &hex[..12])] {
        let id = program.json(["inspect", "--json", name])["id"].clone();
        assert_eq!(id, images[0].config_digest.to_string(), "{name}");
    }
    // Of 17 ids, two begin with the same digit.
    let digits = "0123456789abcdef".chars();
    let mut twice =
        digits.filter(|digit| images.iter().filter(|image| image.config_digest.hex().starts_with(*digit)).count() > 1);
    let message = program.fails(1, ["inspect", &format!("sha256:{}", twice.next().unwrap())]);
    assert!(message.contains("ambiguous"), "{message}");
}
