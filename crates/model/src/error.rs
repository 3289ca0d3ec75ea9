//! What can be wrong with a name or a document.

use std::fmt;

use vmroot_errors::ErrorKind;

use crate::{Digest, Platform};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A name or a document that is not what the specifications ask for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A digest that is not `algorithm:hex`.
    #[error("invalid digest {digest:?}: {reason}")]
    InvalidDigest {
        /// The text as given.
        digest: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// An image reference that is not `[domain/]path[:tag][@digest]`.
    #[error("invalid image reference {reference:?}: {part} {reason}")]
    InvalidReference {
        /// The text as given.
        reference: String,
        /// The part that is wrong.
        part: ReferencePart,
        /// What is wrong with it, to be read after the part's name.
        reason: String,
    },

    /// An image reference whose repository has capital letters, the commonest mistake.
    #[error("invalid image reference {reference:?}: repository name {repository:?} must be lowercase")]
    UppercaseRepository {
        /// The text as given.
        reference: String,
        /// Its repository part.
        repository: String,
    },

    /// A platform that is not `os/architecture[/variant]`.
    #[error("invalid platform {platform:?}: {reason}")]
    InvalidPlatform {
        /// The text as given.
        platform: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// An architecture that no image can have.
    #[error("unsupported architecture: {architecture}")]
    UnsupportedArchitecture {
        /// The text as given.
        architecture: String,
    },

    /// A document longer than anybody may make one.
    #[error("{document} is {size} bytes long; {limit} is the limit")]
    DocumentTooLarge {
        /// What the document is.
        document: DocumentKind,
        /// Its length in bytes.
        size: u64,
        /// The most bytes it may have.
        limit: u64,
    },

    /// A document that has more of something than the limit.
    #[error("{document} {digest}: {what} (line {line}, column {column})")]
    DocumentLimit {
        /// Its kind.
        document: DocumentKind,
        /// Its digest.
        digest: Digest,
        /// The limit.
        what: String,
        /// Where it is passed.
        line: usize,
        /// Where in the line.
        column: usize,
    },

    /// A document that is not JSON, or that lacks or garbles what it must have.
    #[error("invalid {document} {digest}: {reason}")]
    InvalidDocument {
        /// What the document is.
        document: DocumentKind,
        /// The SHA-256 of its bytes.
        digest: Digest,
        /// What is wrong, with line and column where it is about a place.
        reason: String,
    },

    /// A document that one reader could take for a manifest and another for an index (CVE-2021-41190).
    #[error("ambiguous manifest {digest}: it has {fields}, which only different kinds of document may have")]
    AmbiguousManifest {
        /// The SHA-256 of its bytes.
        digest: Digest,
        /// The fields that do not go together.
        fields: String,
    },

    /// A Docker schema 1 manifest.
    #[error(
        "manifest {digest} is of Docker's obsolete schema 1, which is not supported; push the image again with a newer tool"
    )]
    Schema1 {
        /// The SHA-256 of its bytes.
        digest: Digest,
    },

    /// A document that says it is something other than a manifest or an index.
    #[error("manifest {digest} has the type {media_type:?}, which is no image manifest or index")]
    UnsupportedMediaType {
        /// The SHA-256 of its bytes.
        digest: Digest,
        /// The type.
        media_type: String,
    },

    /// A document that says it is one thing while its sender says another (OCI distribution-spec, "Pulling manifests").
    #[error("manifest {digest} says it is of type {declared:?} but was sent as {content_type:?}")]
    MediaTypeMismatch {
        /// The SHA-256 of its bytes.
        digest: Digest,
        /// The type in the document.
        declared: String,
        /// The type in the `Content-Type` header or in the descriptor.
        content_type: String,
    },

    /// An image that does not exist for the platform asked for.
    #[error("image architecture mismatch: image is for {actual} but expected {expected}")]
    ArchitectureMismatch {
        /// What was asked for; the operating system is left out where all are Linux.
        expected: String,
        /// What the image is for, in the same form, joined by commas.
        actual: String,
        /// What the image is for.
        available: Vec<Platform>,
    },

    /// An image whose indexes lead to ever more documents and not to an image.
    #[error("no image found in the first {limit} documents that the image's indexes name")]
    SearchTooLong {
        /// How many documents may be looked at.
        limit: usize,
    },

    /// A config that does not describe the layers of its manifest.
    #[error("config {config} has {diff_ids} diff ids but manifest {manifest} has {layers} layers")]
    LayerCountMismatch {
        /// The digest of the config.
        config: Box<Digest>,
        /// How many layers the config describes.
        diff_ids: usize,
        /// The digest of the manifest.
        manifest: Box<Digest>,
        /// How many layers the manifest lists.
        layers: usize,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller, for a document of an image.
    ///
    /// A name, a platform or a digest is invalid in the document then. One that the caller gave is another matter: see
    /// [`Error::kind_of_argument`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ArchitectureMismatch { .. } => ErrorKind::NotFound,
            Self::DocumentTooLarge { .. } | Self::DocumentLimit { .. } | Self::SearchTooLong { .. } => ErrorKind::Limit,
            _ => ErrorKind::Integrity,
        }
    }

    /// Returns the meaning of the error to a caller whose argument was read: a name, a platform or a digest.
    pub fn kind_of_argument(&self) -> ErrorKind {
        match self {
            Self::InvalidDigest { .. }
            | Self::InvalidReference { .. }
            | Self::UppercaseRepository { .. }
            | Self::InvalidPlatform { .. }
            | Self::UnsupportedArchitecture { .. } => ErrorKind::Usage,
            _ => self.kind(),
        }
    }
}

/// What a document is that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A manifest or an index, as long as it is not known which.
    Unknown,
    /// A manifest.
    Manifest,
    /// An index.
    Index,
    /// An image config.
    Config,
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown | Self::Manifest => "manifest",
            Self::Index => "index",
            Self::Config => "image config",
        })
    }
}

/// The part of an image reference that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferencePart {
    /// The whole text.
    Reference,
    /// The registry's host and port.
    Domain,
    /// The repository's path.
    Repository,
    /// What follows the colon.
    Tag,
    /// What follows the at sign.
    Digest,
}

impl fmt::Display for ReferencePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reference => "the reference",
            Self::Domain => "the registry",
            Self::Repository => "the repository name",
            Self::Tag => "the tag",
            Self::Digest => "the digest",
        })
    }
}
