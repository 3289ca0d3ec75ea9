//! The place that signatures come from.

use std::error::Error;

use vmroot_model::Digest;

use crate::{Signature, StoredBundle};

/// The most signatures of one manifest that are examined.
pub const SIGNATURES_LIMIT: usize = 128;

/// The most bundles of one manifest that are examined.
pub const BUNDLES_LIMIT: usize = 128;

/// An error of a place with signatures: a registry cannot be reached, or a file cannot be read.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// Provides the signatures of one image.
///
/// An evaluation calls these methods only if a requirement needs their results, and at most once for each digest.
pub trait SignatureSource {
    /// Returns the signatures of a manifest or index in the forms of containers/image, in a fixed order. An image
    /// without signatures has an empty list.
    ///
    /// # Errors
    /// Any error that leaves unknown which signatures there are.
    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>, SourceError>;

    /// Returns the sigstore bundles that refer to a manifest or index, in a fixed order. They may be read when they are
    /// taken.
    ///
    /// # Errors
    /// Any error that leaves unknown which bundles there are.
    fn bundles<'a>(&'a self, manifest: &Digest) -> Result<Bundles<'a>, SourceError>;

    /// Returns bundles that [`Self::bundles`] has not looked for, because they are unlikely. An evaluation asks for them if
    /// no other signature meets a requirement.
    ///
    /// # Errors
    /// As [`Self::bundles`].
    fn further_bundles<'a>(&'a self, _manifest: &Digest) -> Result<Bundles<'a>, SourceError> {
        Ok(Box::new(std::iter::empty()))
    }
}

/// Bundles that are read one after the other. An error ends them.
pub type Bundles<'a> = Box<dyn Iterator<Item = Result<StoredBundle, SourceError>> + 'a>;

/// A source of images that cannot have signatures, such as a `docker-archive:`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSignatures;

impl SignatureSource for NoSignatures {
    fn signatures(&self, _: &Digest) -> Result<Vec<Signature>, SourceError> {
        Ok(Vec::new())
    }

    fn bundles<'a>(&'a self, _: &Digest) -> Result<Bundles<'a>, SourceError> {
        Ok(Box::new(std::iter::empty()))
    }
}
