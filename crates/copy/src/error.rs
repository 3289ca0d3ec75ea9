//! Errors from copying images.

use std::io;

use vmroot_errors::{ErrorKind, Limit, counted};
use vmroot_model::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from copying an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source cannot be read.
    #[error("cannot read {place}")]
    Source {
        /// The source's name.
        place: String,
        /// The cause.
        source: Box<vmroot_transport::Error>,
    },
    /// The destination cannot be read or written.
    #[error("cannot write {place}")]
    Destination {
        /// The destination's name.
        place: String,
        /// The cause.
        source: Box<vmroot_transport::Error>,
    },
    /// The destination does not take the manifest.
    #[error("cannot write {place}: it does not accept the manifest ({media_type}): {reason}")]
    Refused {
        /// The destination's name.
        place: String,
        /// The media type of the manifest.
        media_type: String,
        /// The reason.
        reason: String,
        /// What the caller can do, if this crate knows it.
        remedy: Option<&'static str>,
    },
    /// A blob cannot be copied.
    #[error("cannot copy blob {digest} from {from} to {to}")]
    Blob {
        /// The digest in the source.
        digest: Digest,
        /// The source's name.
        from: String,
        /// The destination's name.
        to: String,
        /// The cause.
        source: Box<vmroot_transport::Error>,
    },
    /// A document of the source is invalid, or cannot be converted.
    #[error("{place}")]
    Document {
        /// The source's name.
        place: String,
        /// The cause.
        source: Box<vmroot_model::Error>,
    },
    /// A layer cannot be compressed or decompressed.
    #[error("layer {digest} of {place}")]
    Compress {
        /// The source's name.
        place: String,
        /// The digest in the source.
        digest: Digest,
        /// The cause.
        source: Box<vmroot_compress::Error>,
    },
    /// A layer that does not decompress to its diff id.
    #[error("layer {digest} of {place} should decompress to {expected} but gives {actual}")]
    DiffId {
        /// The source's name.
        place: String,
        /// The digest in the source.
        digest: Digest,
        /// The diff id in the config.
        expected: Digest,
        /// The digest of the decompressed bytes.
        actual: Digest,
    },
    /// A layer cannot be encrypted or decrypted.
    #[error("layer {digest} of {place}")]
    Encryption {
        /// The source's name.
        place: String,
        /// The digest in the source.
        digest: Digest,
        /// The cause.
        source: Box<vmroot_encryption::Error>,
    },
    /// An image has fewer layers than a position of a layer to encrypt says.
    #[error("image {image} of {place} has {}, and none at the position {position}", counted(*count, "layer"))]
    NoLayer {
        /// The source's name.
        place: String,
        /// The digest of the manifest.
        image: Digest,
        /// The position, from 0, or from -1 at the end.
        position: i64,
        /// The number of layers.
        count: usize,
    },
    /// The copy would change the image, which an option or the destination forbids.
    #[error("cannot copy {from} to {to} unchanged: {reason}")]
    MustNotChange {
        /// The source's name.
        from: String,
        /// The destination's name.
        to: String,
        /// The reason for the change.
        reason: String,
    },
    /// The destination has no place for the signatures of the image.
    #[error("cannot copy the signatures of {from} to {to}: {reason}")]
    Signatures {
        /// The source's name.
        from: String,
        /// The destination's name.
        to: String,
        /// The reason.
        reason: String,
    },
    /// An image cannot be signed.
    #[error("cannot sign {digest}")]
    Sign {
        /// The digest of the manifest.
        digest: Digest,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The destination of a signed copy has no name that a signature can have.
    #[error("cannot sign the copy in {place}: the destination has no name in a registry")]
    NoSignedName {
        /// The destination's name.
        place: String,
    },
    /// Lists that contain themselves, or each other too deeply.
    #[error("{place}: lists are nested more than {limit} deep")]
    TooDeep {
        /// The source's name.
        place: String,
        /// The largest number of nested lists.
        limit: usize,
    },
    /// Too many documents refer to each other.
    #[error("{place}: more than {limit} documents refer to the image")]
    TooManyReferrers {
        /// The source's name.
        place: String,
        /// The largest number of documents.
        limit: usize,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Threads(#[source] io::Error),
    /// The caller cancelled the copy.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Source { source, .. } | Self::Destination { source, .. } | Self::Blob { source, .. } => source.kind(),
            Self::Document { source, .. } => source.kind(),
            Self::Compress { source, .. } => source.kind(),
            Self::Encryption { source, .. } => source.kind(),
            Self::NoLayer { .. } => ErrorKind::Usage,
            Self::DiffId { .. } => ErrorKind::Integrity,
            Self::TooDeep { .. } | Self::TooManyReferrers { .. } => ErrorKind::Limit,
            Self::MustNotChange { .. }
            | Self::Refused { .. }
            | Self::Signatures { .. }
            | Self::Sign { .. }
            | Self::Threads(_) => ErrorKind::Other,
            Self::NoSignedName { .. } => ErrorKind::Usage,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Source { source, .. } | Self::Destination { source, .. } | Self::Blob { source, .. } => {
                source.limit()
            }
            Self::Compress { source, .. } => source.limit(),
            Self::Encryption { source, .. } => source.limit(),
            _ => None,
        }
    }
}

impl From<vmroot_output::Cancelled> for Error {
    fn from(_: vmroot_output::Cancelled) -> Self {
        Self::Cancelled
    }
}
