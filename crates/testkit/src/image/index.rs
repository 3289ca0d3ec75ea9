//! Builds an index of several images.

use serde_json::{Value, json};
use vmroot_model::Digest;

use super::builder::{Format, replace_members};
use super::{Blobs, Document, Documents, Image, descriptor, platform, to_json};

/// An index with all images that it refers to.
#[derive(Debug, Clone)]
pub struct Index {
    /// The index itself.
    pub document: Document,
    /// The images in the order of the index.
    pub images: Vec<Image>,
    /// Documents other than images of this index: attestations, nested indexes and their documents.
    others: Documents,
    /// The blobs of these documents.
    other_blobs: Blobs,
}

/// Builds an index. Each setter returns the changed builder.
#[derive(Debug, Clone, Default)]
pub struct IndexBuilder {
    format: Format,
    entries: Vec<Value>,
    images: Vec<Image>,
    others: Documents,
    other_blobs: Blobs,
}

impl IndexBuilder {
    /// Returns a builder of an empty OCI index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the media types.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Adds an image, with its platform in the entry.
    pub fn image(mut self, image: Image) -> Self {
        let mut entry = image.descriptor();
        entry["platform"] = platform(&image.platform).into();
        self.entries.push(entry);
        self.images.push(image);
        self
    }

    /// Adds an image without a platform in the entry.
    pub fn image_without_platform(mut self, image: Image) -> Self {
        self.entries.push(image.descriptor());
        self.images.push(image);
        self
    }

    /// Adds another index as an entry.
    pub fn index(mut self, index: Index) -> Self {
        self.entries.push(descriptor(&index.document));
        self.other_blobs.extend(index.blobs());
        self.others.extend(index.documents());
        self
    }

    /// Adds an attestation of the last image, with the platform unknown/unknown, as BuildKit does.
    ///
    /// # Panics
    /// If there is no image yet.
    pub fn attestation(mut self) -> Self {
        let subject = self.images.last().expect("an attestation is of an image").manifest.digest;
        let statement = to_json(&json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{ "name": "image", "digest": { "sha256": subject.hex() } }],
            "predicate": {},
        }));
        let config = to_json(&json!({
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&statement).to_string()] },
        }));
        let manifest = to_json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob_descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [blob_descriptor("application/vnd.in-toto+json", &statement)],
        }));
        let document = Document {
            digest: Digest::of(&manifest),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            bytes: manifest,
        };
        let mut entry = descriptor(&document);
        entry["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
        entry["annotations"] = json!({
            "vnd.docker.reference.digest": subject.to_string(),
            "vnd.docker.reference.type": "attestation-manifest",
        });
        self.entries.push(entry);
        self.others.push(document);
        self.other_blobs.extend([(Digest::of(&statement), statement), (Digest::of(&config), config)]);
        self
    }

    /// Replaces a member of the last entry with any value, even an invalid one.
    ///
    /// # Panics
    /// If there is no entry yet.
    pub fn entry_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        let entry = self.entries.last_mut().expect("an entry to change");
        replace_members(entry, [(name.to_owned(), value.into())].into_iter().collect());
        self
    }

    /// Returns the index.
    pub fn build(self) -> Index {
        let media_type = self.format.index();
        let bytes = to_json(&json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": self.entries }));
        let document = Document { digest: Digest::of(&bytes), media_type: media_type.into(), bytes };
        Index { document, images: self.images, others: self.others, other_blobs: self.other_blobs }
    }
}

impl Index {
    /// Returns the configs, layers and attestations of all entries.
    pub fn blobs(&self) -> Blobs {
        self.images.iter().flat_map(Image::blobs).chain(self.other_blobs.clone()).collect()
    }

    /// Returns all documents, with the index itself last.
    pub fn documents(&self) -> Documents {
        let images = self.images.iter().map(|image| image.manifest.clone());
        images.chain(self.others.clone()).chain([self.document.clone()]).collect()
    }
}

fn blob_descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}
