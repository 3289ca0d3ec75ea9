//! Documents that refer to others, such as signatures and bills of materials, in layouts and directories.
//!
//! In a layout they are entries of the index without names, as ORAS writes them. In a `dir:` directory they have files
//! like the instances of a list.

use std::collections::HashMap;

use vmroot_model::{Descriptor, Digest, Document, MediaType};

/// Returns the descriptor of a document that refers to another one, with its kind and its annotations (OCI
/// distribution-spec, "Listing Referrers").
pub(crate) fn describe(bytes: &[u8], media_type: &MediaType) -> Descriptor {
    let descriptor = Descriptor::of(MediaType::new(media_type.essence()), bytes);
    match Document::parse(bytes.to_vec(), Some(media_type.as_str())) {
        Ok(document) => with_kind(descriptor, &document),
        // The destination has checked the type only.
        Err(_) => descriptor,
    }
}

fn with_kind(mut descriptor: Descriptor, document: &Document) -> Descriptor {
    let (kind, annotations) = match document {
        Document::Manifest(manifest) => {
            let kind = manifest.artifact_type().filter(|it| !it.is_empty()).unwrap_or(&manifest.config().media_type);
            (Some(kind), manifest.annotations())
        }
        Document::Index(index) => (index.artifact_type(), index.annotations()),
    };
    descriptor.artifact_type = kind.filter(|it| !it.is_empty()).cloned();
    descriptor.annotations = annotations.clone();
    descriptor
}

/// Documents that refer to others, by the digest of the other.
#[derive(Debug, Default)]
pub(crate) struct Referrers(HashMap<Digest, Vec<Descriptor>>);

impl Referrers {
    /// Adds a document, if it refers to another one. A damaged document refers to nothing.
    pub(crate) fn add(&mut self, digest: &Digest, bytes: Vec<u8>, media_type: Option<&MediaType>) {
        if !digest.is_of(&bytes) {
            return;
        }
        let size = bytes.len() as u64;
        let Ok(document) = Document::parse(bytes, media_type.map(MediaType::as_str)) else { return };
        let subject = match &document {
            Document::Manifest(manifest) => manifest.subject(),
            Document::Index(index) => index.subject(),
        };
        let Some(subject) = subject else { return };
        let listed = self.0.entry(subject.digest).or_default();
        if !listed.iter().any(|other| other.digest == *digest) {
            let descriptor = Descriptor::new(document.media_type().clone(), *digest, size);
            listed.push(with_kind(descriptor, &document));
        }
    }

    /// Returns the documents that refer to the one with this digest.
    pub(crate) fn of(&self, digest: &Digest) -> Vec<Descriptor> {
        self.0.get(digest).cloned().unwrap_or_default()
    }
}
