//! Documents of a layout that refer to others, such as signatures and bills of materials.
//!
//! They are entries of the index without names, as ORAS writes them.

use std::collections::HashMap;

use vmroot_model::{Descriptor, Digest, Document, MANIFEST_LIMIT, MediaType};

use super::Blobs;
use crate::Result;

/// Returns the descriptor of a document that refers to another one, with its kind and its annotations (OCI
/// distribution-spec, "Listing Referrers").
pub(crate) fn describe(bytes: &[u8], media_type: &MediaType) -> Descriptor {
    let mut descriptor = Descriptor::of(MediaType::new(media_type.essence()), bytes);
    match Document::parse(bytes.to_vec(), Some(media_type.as_str())) {
        Ok(Document::Manifest(manifest)) => {
            let kind = manifest.artifact_type().filter(|it| !it.is_empty()).unwrap_or(&manifest.config().media_type);
            descriptor.artifact_type = Some(kind.clone()).filter(|it| !it.is_empty());
            descriptor.annotations = manifest.annotations().clone();
        }
        Ok(Document::Index(index)) => {
            descriptor.artifact_type = index.artifact_type().cloned();
            descriptor.annotations = index.annotations().clone();
        }
        // The destination has checked the type only.
        Err(_) => {}
    }
    descriptor
}

/// The documents of a layout's index that refer to others, by the digest of the other.
#[derive(Debug, Default)]
pub(super) struct Referrers(HashMap<Digest, Vec<Descriptor>>);

impl Referrers {
    /// Reads the documents of all entries. Entries that are missing or damaged refer to nothing.
    pub(super) fn read(blobs: &Blobs, entries: &[Descriptor]) -> Result<Self> {
        let mut referrers: HashMap<Digest, Vec<Descriptor>> = HashMap::new();
        for entry in entries.iter().filter(|entry| entry.media_type.is_manifest() || entry.media_type.is_index()) {
            let member = blobs.member(&entry.digest);
            let Some(section) = blobs.bundle.find(&member)? else { continue };
            if section.len() > MANIFEST_LIMIT {
                continue;
            }
            let bytes = blobs.bundle.read(&member, section, MANIFEST_LIMIT)?;
            if !entry.digest.is_of(&bytes) {
                continue;
            }
            let subject = match Document::parse(bytes.clone(), Some(entry.media_type.as_str())) {
                Ok(Document::Manifest(manifest)) => manifest.subject().map(|subject| subject.digest),
                Ok(Document::Index(index)) => index.subject().map(|subject| subject.digest),
                Err(_) => None,
            };
            if let Some(subject) = subject {
                let found = Descriptor { digest: entry.digest, ..describe(&bytes, &entry.media_type) };
                let listed = referrers.entry(subject).or_default();
                if !listed.iter().any(|other| other.digest == found.digest) {
                    listed.push(found);
                }
            }
        }
        Ok(Self(referrers))
    }

    /// Returns the documents that refer to the one with this digest.
    pub(super) fn of(&self, digest: &Digest) -> Vec<Descriptor> {
        self.0.get(digest).cloned().unwrap_or_default()
    }
}
