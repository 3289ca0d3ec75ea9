//! Foreign layers: layers that are not in their image's registry.

use std::fs;

use serde_json::{Value, json};
use vmroot_testkit::image::{Compression, Image, ImageBuilder};
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{base, serve, top};

/// Builds an image whose lower layer has this media type and these URLs.
fn foreign(media_type: &str, urls: &[String]) -> Image {
    let build = |manifest: Option<Value>| {
        let image = ImageBuilder::new().compression(Compression::Gzip).layers([&base(), &top("x")]);
        match manifest {
            Some(layers) => image.manifest_member("layers", layers).build(),
            None => image.build(),
        }
    };
    let plain = build(None);
    let mut manifest: Value = serde_json::from_slice(&plain.manifest.bytes).unwrap();
    manifest["layers"][0]["mediaType"] = json!(media_type);
    manifest["layers"][0]["urls"] = json!(urls);
    build(Some(manifest["layers"].take()))
}

/// Windows images and images of some vendors have such layers.
#[test]
fn foreign_layer_is_fetched_from_its_urls() {
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ] {
        let (registry, elsewhere) = (Registry::start(), Registry::start());
        let digest = foreign(media_type, &[]).layers[0].digest;
        let urls = [format!("{}/nothing", elsewhere.url()), format!("{}/files/{digest}", elsewhere.url())];
        let image = foreign(media_type, &urls);
        let reference = serve(&registry, &image, "v1");
        registry.remove_blob(&digest);
        elsewhere.put_blob(image.layers[0].bytes.clone());
        let program = Program::new();
        program.ok(["pull", &reference, "--arch=amd64", "--creds=user:secret"]);
        assert_eq!(program.ok(["cat", &reference, "/etc/motd"]), "x\n");
        assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
        let inspected = program.json(["inspect", "--json", &reference]);
        assert_eq!(inspected["layers"][0]["urls"], json!(urls), "{inspected}");
        assert_eq!(inspected["layers"][1]["urls"], Value::Null, "{inspected}");

        // A lost blob is fetched again from there.
        let hex = digest.hex().to_string();
        fs::remove_file(program.cache().join("blobs/sha256").join(hex)).unwrap();
        for kept in ["layers/v1", "roots/v1"] {
            let directory = program.cache().join(kept);
            for entry in fs::read_dir(&directory).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        elsewhere.clear_requests();
        program.ok(["pull", &reference, "--arch=amd64"]);
        assert_eq!(elsewhere.count("/files/"), 1);
        assert_eq!(program.json(["verify", "--json"])["findings"], json!([]));

        // A repair fetches it from there as well.
        fs::remove_file(program.cache().join("blobs/sha256").join(digest.hex())).unwrap();
        elsewhere.clear_requests();
        let report = program.json(["verify", "--repair", "--json"]);
        assert_eq!((&report["repaired"], elsewhere.count("/files/")), (&json!(1), 1), "{report}");
    }
}

#[test]
fn urls_of_ordinary_layers_are_ignored() {
    let (registry, elsewhere) = (Registry::start(), Registry::start());
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    let digest = foreign(media_type, &[]).layers[0].digest;
    let image = foreign(media_type, &[format!("{}/files/{digest}", elsewhere.url())]);
    let reference = serve(&registry, &image, "v1");
    registry.remove_blob(&digest);
    elsewhere.put_blob(image.layers[0].bytes.clone());
    Program::new().run(["pull", &reference, "--arch=amd64"]).fails(3);
    assert_eq!(elsewhere.connections(), 0);
}

/// The server of the URL may send any bytes.
#[test]
fn foreign_layer_is_verified() {
    let (registry, elsewhere) = (Registry::start(), Registry::start());
    let media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let digest = foreign(media_type, &[]).layers[0].digest;
    let image = foreign(media_type, &[format!("{}/files/{digest}", elsewhere.url())]);
    let reference = serve(&registry, &image, "v1");
    registry.remove_blob(&digest);
    let mut bytes = image.layers[0].bytes.clone();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    elsewhere.put_blob_as(&digest, bytes);
    Program::new().run(["pull", &reference, "--arch=amd64"]).fails(5);
}
