//! Damaged files of the cache are found, reported and rebuilt, without any loss.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vmroot_testkit::image::Image;
use vmroot_testkit::registry::Registry;

use crate::program::Program;
use crate::samples::{image, serve};

/// Kinds of damage, by name.
type Damage = (&'static str, fn(&mut Vec<u8>));

const DAMAGES: [Damage; 5] = [
    ("a flipped bit", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    }),
    ("its last byte lost", |bytes| bytes.truncate(bytes.len() - 1)),
    ("half of it lost", |bytes| bytes.truncate(bytes.len() / 2)),
    ("all of it lost", Vec::clear),
    ("something behind it", |bytes| bytes.extend_from_slice(b"more")),
];

struct CachedImage {
    registry: Registry,
    image: Image,
    reference: String,
    program: Program,
}

impl CachedImage {
    fn new() -> Self {
        let registry = Registry::start();
        let image = image("amd64");
        let reference = serve(&registry, &image, "v1");
        let program = Program::new();
        program.ok(["pull", &reference, "--arch=amd64"]);
        registry.clear_requests();
        Self { registry, image, reference, program }
    }

    fn blob(&self, digest: &vmroot_model::Digest) -> PathBuf {
        self.program.cache().join("blobs/sha256").join(digest.hex())
    }

    fn layer(&self, number: usize, extension: &str) -> PathBuf {
        let hex = self.image.layers[number].diff_id.hex();
        self.program.cache().join(format!("layers/v1/{hex}.{extension}"))
    }

    /// Returns the only file of a directory with this extension.
    fn only(&self, directory: &str, extension: &str) -> PathBuf {
        let paths = fs::read_dir(self.program.cache().join(directory)).unwrap().map(|entry| entry.unwrap().path());
        let mut paths = paths.filter(|path| path.extension().is_some_and(|own| own == extension));
        let path = paths.next().unwrap();
        assert_eq!(paths.next(), None);
        path
    }

    /// Checks that the image can be read completely, without the registry and without messages.
    fn assert_works_silently(&self, what: &str) {
        let reads: [(&[&str], &str); 4] = [
            (&["cat", &self.reference, "etc/motd", "usr/bin/tool"], "amd64\n#!/bin/sh\n"),
            (&["ls", &self.reference, "/"], "bin\netc\nloop\nnull\nusr\n"),
            (&["resolve", &self.reference, "bin/alias"], "/usr/bin/alias\n"),
            (&["readlink", &self.reference, "bin"], "usr/bin\n"),
        ];
        for (arguments, expected) in reads {
            let answer = self.program.run(arguments.iter().chain(&["--arch=amd64", "--pull=never"]));
            assert_eq!(answer.stderr, "", "{what}");
            assert_eq!(answer.ok(), expected, "{what}");
        }
        assert_eq!(self.registry.requests().len(), 0, "{what}");
    }

    /// Returns the findings of a verification with this exit code. It changes nothing.
    fn verify(&self, code: i32) -> Vec<Value> {
        self.findings(&["verify", "--json"], code)
    }

    /// Returns the findings of a repair with this exit code.
    fn repair(&self, code: i32, options: &[&str]) -> Vec<Value> {
        self.findings(&[&["verify", "--repair", "--json"], options].concat(), code)
    }

    fn findings(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let answer = self.program.run(arguments);
        assert_eq!(answer.status.code(), Some(code), "{answer}");
        let found: Value = serde_json::from_slice(&answer.stdout).unwrap();
        found["findings"].as_array().unwrap().clone()
    }

    /// Checks that `verify` has one finding, for this file, and that a repair repairs it.
    fn assert_verify_mends(&self, path: &Path, what: &str) {
        for (findings, state) in [(self.verify(5), "damaged"), (self.repair(0, &[]), "repaired")] {
            assert_eq!(findings.len(), 1, "{what}: {findings:?}");
            assert_eq!(findings[0]["path"], path.to_str().unwrap(), "{what}");
            assert_eq!(findings[0]["mended"], state == "repaired", "{what}");
            assert_eq!(findings[0]["state"], state, "{what}");
        }
        assert_eq!(self.verify(0), Vec::<Value>::new(), "{what}");
    }
}

fn damage(path: &Path, how: fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    // Files of the cache are read-only.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn verify_rebuilds_an_index() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let path = cached.layer(0, "idx");
        damage(&path, how);
        cached.assert_verify_mends(&path, what);
        cached.assert_works_silently(what);
    }
}

#[test]
fn verify_rebuilds_contents() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let path = cached.layer(1, "contents");
        damage(&path, how);
        cached.assert_verify_mends(&path, what);
        cached.assert_works_silently(what);
    }
}

#[test]
fn verify_rebuilds_a_root() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let path = cached.only("roots/v1", "idx");
        damage(&path, how);
        cached.assert_verify_mends(&path, what);
        cached.assert_works_silently(what);
    }
}

#[test]
fn verify_rebuilds_missing_files() {
    let cached = CachedImage::new();
    let root = cached.only("roots/v1", "idx");
    for (removed, reported) in [
        (cached.layer(0, "idx"), cached.layer(0, "idx")),
        (cached.layer(1, "contents"), cached.layer(1, "contents")),
        (root.clone(), root),
    ] {
        fs::remove_file(&removed).unwrap();
        cached.assert_verify_mends(&reported, "missing");
        assert!(removed.exists());
        cached.assert_works_silently("missing");
    }
}

#[test]
fn other_commands_rebuild_indexes_and_roots() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let root = cached.only("roots/v1", "idx");
        damage(&root, how);
        cached.assert_works_silently(&format!("root: {what}"));
        damage(&root, how);
        damage(&cached.layer(0, "idx"), how);
        damage(&cached.layer(1, "idx"), how);
        cached.assert_works_silently(&format!("all indexes: {what}"));
        assert_eq!(cached.verify(0), Vec::<Value>::new(), "{what}");
    }
    // Before a read, only the length of contents is checked.
    for (what, how) in &DAMAGES[1..] {
        let cached = CachedImage::new();
        damage(&cached.layer(0, "contents"), *how);
        cached.assert_works_silently(&format!("contents: {what}"));
        assert_eq!(cached.verify(0), Vec::<Value>::new(), "{what}");
    }
}

/// The layer's index exists, so its blob is not needed to use the image. A repair fetches it again all the same.
#[test]
fn damaged_layer_blob_is_fetched_again() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let path = cached.blob(&cached.image.layers[0].digest);
        let whole = fs::read(&path).unwrap();
        damage(&path, how);
        cached.assert_works_silently(what);
        cached.assert_verify_mends(&path, what);
        assert_eq!(cached.registry.count("/blobs/"), 1, "{what}");
        assert_eq!(fs::read(&path).unwrap(), whole, "{what}");
        cached.registry.clear_requests();
        cached.assert_works_silently(what);
    }
}

#[test]
fn damaged_layer_with_a_damaged_blob_is_fetched_again() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let layer = cached.image.layers[1].digest;
        let damage_both = || {
            for path in [cached.blob(&layer), cached.layer(1, "idx"), cached.only("roots/v1", "idx")] {
                damage(&path, how);
            }
        };
        let cat = |policy: &str| cached.program.run(["cat", &cached.reference, "etc/motd", "--arch=amd64", policy]);
        damage_both();
        let message = cat("--pull=never").fails(5);
        assert!(message.contains(&layer.to_string()), "{what}: {message}");
        assert_eq!(cat("--pull=missing").ok(), "amd64\n", "{what}");
        assert_eq!(cached.registry.count("/blobs/"), 1, "{what}");
        assert_eq!(cached.verify(0), Vec::<Value>::new(), "{what}");

        damage_both();
        let findings = cached.repair(5, &["--offline"]);
        let left: Vec<_> = findings.iter().filter(|finding| finding["mended"] == false).collect();
        assert_eq!(left.len(), 2, "{what}: {findings:?}");
        let paths: Vec<_> = left.iter().map(|finding| finding["path"].as_str().unwrap().to_owned()).collect();
        let lost = [cached.blob(&layer), cached.layer(1, "idx")].map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(paths, lost, "{what}");
        cached.registry.clear_requests();
        assert!(cached.repair(0, &[]).iter().all(|finding| finding["state"] == "repaired"), "{what}");
        assert_eq!(cached.registry.count("/blobs/"), 1, "{what}");
        assert_eq!(cached.verify(0), Vec::<Value>::new(), "{what}");
        cached.registry.clear_requests();
        cached.assert_works_silently(what);
    }
}

#[test]
fn damaged_config_is_fetched_again() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let path = cached.blob(&cached.image.config_digest);
        let cat = |policy: &str| cached.program.run(["cat", &cached.reference, "etc/motd", "--arch=amd64", policy]);
        damage(&path, how);
        let message = cat("--pull=never").fails(5);
        assert!(message.contains(path.to_str().unwrap()), "{what}: {message}");
        assert_eq!(cat("--pull=missing").ok(), "amd64\n", "{what}");
        assert_eq!(cached.verify(0), Vec::<Value>::new(), "{what}");

        damage(&path, how);
        let findings = cached.repair(5, &["--pull=never"]);
        assert_eq!(findings.len(), 1, "{what}: {findings:?}");
        assert_eq!((&findings[0]["path"], &findings[0]["mended"]), (&json!(path.to_str().unwrap()), &json!(false)));
        assert_eq!(findings[0]["images"][0]["reference"], cached.reference, "{what}");
        cached.registry.clear_requests();
        assert_eq!(cached.repair(0, &[])[0]["state"], "repaired", "{what}");
        assert_eq!(cached.verify(0), Vec::<Value>::new(), "{what}");
    }
}

#[test]
fn damaged_manifest_is_fetched_again() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let path = cached.blob(&cached.image.manifest.digest);
        damage(&path, how);
        cached.assert_works_silently(what);
        cached.assert_verify_mends(&path, what);
        cached.program.ok(["pull", &cached.reference, "--arch=amd64"]);
        assert!(path.exists());
    }
}

#[test]
fn record_is_repaired_from_its_copy() {
    for extension in ["json", "copy"] {
        for (what, how) in DAMAGES {
            let cached = CachedImage::new();
            let path = cached.only("images", extension);
            let whole = fs::read(&path).unwrap();
            damage(&path, how);
            let answer = cached.program.run(["cat", &cached.reference, "etc/motd", "--arch=amd64", "--pull=never"]);
            assert!(answer.stderr.contains("repaired an image record"), "{what}: {answer}");
            assert_eq!(answer.ok(), "amd64\n", "{what}");
            assert_eq!(fs::read(&path).unwrap(), whole, "{what}");
            fs::remove_file(&path).unwrap();
            assert_eq!(cached.repair(0, &[]), Vec::<Value>::new(), "{what}");
            assert_eq!(fs::read(&path).unwrap(), whole, "{what}");
            cached.assert_works_silently(what);
        }
    }
}

#[test]
fn record_with_both_copies_damaged_is_reported_and_pulled_again() {
    for (what, how) in DAMAGES {
        let cached = CachedImage::new();
        let path = cached.only("images", "json");
        let damage_both = || {
            damage(&path, how);
            damage(&path.with_extension("copy"), how);
        };
        damage_both();
        let findings = cached.verify(5);
        assert_eq!(findings.len(), 1, "{what}: {findings:?}");
        assert_eq!((&findings[0]["path"], &findings[0]["mended"]), (&json!(path.to_str().unwrap()), &json!(false)));
        // The files that the record needs are unknown, so none are removed.
        assert!(cached.program.fails(5, ["gc"]).contains(path.to_str().unwrap()), "{what}");
        let other = cached.program.run(["images"]);
        assert!(other.status.success() && other.stderr.contains(path.to_str().unwrap()), "{what}: {other}");

        for policy in ["--pull=always", "--pull=missing"] {
            damage_both();
            let digest = format!("{}@{}", cached.reference, cached.image.manifest.digest);
            for reference in [&cached.reference, &digest] {
                cached.program.ok(["pull", reference, "--arch=amd64", policy]);
            }
            cached.program.ok(["rm", &digest, "--arch=amd64"]);
            assert_eq!(cached.registry.count("/blobs/"), 0, "{what}: everything else is undamaged");
            assert_eq!(cached.verify(0), Vec::<Value>::new(), "{what}");
        }
    }
}
