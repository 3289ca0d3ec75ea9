//! Tests of searching nested indexes.

use std::collections::BTreeMap;

use vmroot_model::{Digest, Document, Error, ImageConfig, Platform, Search};

/// Documents and configs by digest.
#[derive(Default)]
struct Registry {
    blobs: BTreeMap<Digest, Vec<u8>>,
    fetched: usize,
}

impl Registry {
    fn add(&mut self, json: String) -> (Digest, usize) {
        let digest = Digest::of(json.as_bytes());
        let size = json.len();
        self.blobs.insert(digest, json.into_bytes());
        (digest, size)
    }

    /// Adds an image for an architecture, and returns an index entry for it with the members `more`.
    fn image(&mut self, architecture: &str, more: &str) -> String {
        let (digest, size) = self.add(format!(r#"{{"os":"linux","architecture":"{architecture}"}}"#));
        let media_type = "application/vnd.oci.image.config.v1+json";
        let config = format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#);
        let (digest, size) = self.add(format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#));
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{more}}}"#)
    }

    fn index(&mut self, entries: &[String], more: &str) -> String {
        let (digest, size) = self.add(format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(",")));
        let media_type = "application/vnd.oci.image.index.v1+json";
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}{more}}}"#)
    }

    /// Searches with the loop in the documentation of `Search`, and returns the architecture of the image.
    fn find(&mut self, entries: &[String], wanted: &str) -> Result<String, Error> {
        let wanted = Platform::parse(wanted).unwrap();
        let top = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        let mut document = Document::parse(top.into_bytes(), None)?;
        let mut search = Search::new(&wanted);
        self.fetched = 0;
        loop {
            match &document {
                Document::Index(index) => search.enter(index),
                Document::Manifest(manifest) => {
                    let config = ImageConfig::parse(self.blobs[&manifest.config().digest].clone())?;
                    if config.check_platform(&wanted).is_ok() {
                        return Ok(config.architecture().to_owned());
                    }
                    search.reject(config.platform());
                }
            }
            let next = search.next_candidate()?;
            self.fetched += 1;
            document = Document::parse(self.blobs[&next.digest].clone(), Some(next.media_type.as_str()))?;
        }
    }
}

const AMD64: &str = r#","platform":{"os":"linux","architecture":"amd64"}"#;
const ARM64: &str = r#","platform":{"os":"linux","architecture":"arm64","variant":"v8"}"#;

#[test]
fn nested_indexes_are_searched() {
    let mut registry = Registry::default();
    let images = [registry.image("amd64", AMD64), registry.image("arm64", ARM64)];
    let middle = registry.index(&images, "");
    let outer = [registry.index(&[middle], "")];
    assert_eq!(registry.find(&outer, "linux/arm64").unwrap(), "arm64");
    assert_eq!(registry.fetched, 3);
    let error = registry.find(&outer, "linux/s390x").unwrap_err().to_string();
    assert_eq!(error, "image architecture mismatch: image is for amd64, arm64 but expected s390x");
}

#[test]
fn an_entry_with_a_platform_precedes_a_nested_index() {
    let mut registry = Registry::default();
    let inside = [registry.image("amd64", AMD64)];
    let entries = [registry.index(&inside, ""), registry.image("amd64", AMD64)];
    assert_eq!(registry.find(&entries, "linux/amd64").unwrap(), "amd64");
    assert_eq!(registry.fetched, 1);
}

#[test]
fn an_index_may_have_a_platform() {
    let mut registry = Registry::default();
    let inside = [registry.image("arm64", "")];
    let entries = [registry.index(&[], AMD64), registry.index(&inside, ARM64)];
    assert_eq!(registry.find(&entries, "linux/arm64").unwrap(), "arm64");
    assert_eq!(registry.fetched, 2);
}

#[test]
fn the_configs_of_images_without_a_platform_are_checked() {
    let mut registry = Registry::default();
    let entries = [registry.image("amd64", ""), registry.index(&[], ""), registry.image("arm64", "")];
    assert_eq!(registry.find(&entries, "linux/arm64").unwrap(), "arm64");
    let error = registry.find(&entries, "linux/riscv64").unwrap_err().to_string();
    assert_eq!(error, "image architecture mismatch: image is for amd64, arm64 but expected riscv64");
}

#[test]
fn a_search_is_limited() {
    let mut registry = Registry::default();
    let mut entry = registry.image("arm64", ARM64);
    for _ in 0..Search::LIMIT - 1 {
        entry = registry.index(&[entry], "");
    }
    let entries = [entry];
    assert_eq!(registry.find(&entries, "linux/arm64").unwrap(), "arm64");
    let deeper = [registry.index(&entries, "")];
    assert!(matches!(registry.find(&deeper, "linux/arm64"), Err(Error::SearchTooLong { limit: 64 })));
}
