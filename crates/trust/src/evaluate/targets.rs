//! The documents whose signatures cover an image.

use vmroot_model::{AnyDocument, Digest, Document};

use crate::{Accepted, Coverage, ImageToJudge};

/// The most indexes above a manifest that are considered.
const INDEXES_LIMIT: usize = 8;

/// The manifest of an image and the indexes above it, each named by the next one.
pub(super) struct Targets<'a>(Vec<Target<'a>>);

/// A document whose signature covers the image.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) digest: Digest,
    bytes: &'a [u8],
    pub(super) coverage: Coverage,
}

impl<'a> Targets<'a> {
    /// Checks that bytes have their digests, and that each index names the document below it.
    pub(super) fn check(image: &ImageToJudge<'a>) -> Result<Self, String> {
        if !has_digest(image.manifest, &image.digest) {
            return Err(format!("the bytes of the manifest do not have the digest {}", image.digest));
        }
        if image.indexes.len() > INDEXES_LIMIT {
            return Err(format!("more than {INDEXES_LIMIT} indexes are above the manifest"));
        }
        let mut targets = vec![Target { digest: image.digest, bytes: image.manifest, coverage: Coverage::Manifest }];
        let mut below = image.digest;
        for (digest, bytes) in image.indexes {
            if !digest.is_of(bytes) {
                return Err(format!("the bytes of the index do not have the digest {digest}"));
            }
            match Document::parse(bytes.clone(), None) {
                Ok(Document::Index(index)) if index.manifests().iter().any(|entry| entry.digest == below) => {}
                Ok(_) => return Err(format!("the index {digest} does not name {below}")),
                Err(error) => return Err(format!("the index {digest} is invalid: {error}")),
            }
            targets.push(Target { digest: *digest, bytes, coverage: Coverage::Index });
            below = *digest;
        }
        Ok(Self(targets))
    }

    /// Returns the manifest, then the indexes, the nearest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Target<'a>> + use<'a, '_> {
        self.0.iter().copied()
    }
}

impl Target<'_> {
    /// Checks that a signed digest is one of this document, in any algorithm.
    pub(super) fn check_digest(&self, signed: &Digest) -> Result<(), String> {
        if has_digest(self.bytes, signed) { Ok(()) } else { Err(format!("it is for another digest, {signed}")) }
    }

    /// Returns the hex digits of the SHA-256 of all bytes.
    pub(super) fn sha256(&self) -> String {
        Digest::of(self.bytes).hex()
    }

    /// Returns a verified signature of this document.
    pub(super) fn accepted(&self, signer: String, reference: Option<String>) -> Accepted {
        Accepted { verified: self.digest, coverage: self.coverage, signer, reference }
    }
}

/// Returns whether bytes have a digest. That of schema 1 is the digest of its signed part, which is all that is read of
/// it. Other documents are read wholly, so they have the digest of all their bytes.
fn has_digest(bytes: &[u8], digest: &Digest) -> bool {
    digest.is_of(bytes)
        || matches!(AnyDocument::parse(bytes.to_vec(), None), Ok(AnyDocument::Schema1(it)) if it.digest() == digest)
}
