//! Checks whether a destination has all parts of an image.

use vmroot_model::{Descriptor, Digest, Document};

/// The maximum depth of indexes in indexes.
const DEPTH_LIMIT: u32 = 8;

/// The files of a destination.
pub(crate) trait Parts {
    /// Reads a manifest or an index. Returns `None` if it is missing, damaged or too large.
    fn document(&self, digest: &Digest) -> Option<Vec<u8>>;

    /// Returns whether a blob exists and has its size.
    fn has_blob(&self, blob: &Descriptor) -> bool;
}

/// Returns whether all parts of an image or of a list exist. A foreign layer may be missing.
///
/// A list may have been copied without some of its instances. Then it is not whole, though its digest is the same.
pub(crate) fn is_whole(parts: &impl Parts, digest: &Digest) -> bool {
    parts.document(digest).is_some_and(|bytes| is_whole_document(parts, bytes, DEPTH_LIMIT))
}

fn is_whole_document(parts: &impl Parts, bytes: Vec<u8>, depth: u32) -> bool {
    match Document::parse(bytes, None) {
        Ok(Document::Manifest(manifest)) => {
            let is_there = |layer: &Descriptor| layer.foreign_urls().next().is_some() || parts.has_blob(layer);
            parts.has_blob(manifest.config()) && manifest.layers().iter().all(is_there)
        }
        Ok(Document::Index(index)) => {
            let instance = |entry: &Descriptor| {
                parts.document(&entry.digest).is_some_and(|bytes| is_whole_document(parts, bytes, depth - 1))
            };
            depth > 0 && index.manifests().iter().all(instance)
        }
        Err(_) => false,
    }
}
