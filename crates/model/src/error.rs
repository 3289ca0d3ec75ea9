//! Errors from parsing names and documents.

use std::fmt;

use vmroot_errors::{ErrorKind, counted};

use crate::{Digest, Platform};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from parsing a name, a platform, a digest or an image's document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A digest that is not `algorithm:hex`.
    #[error("invalid digest {digest:?}: {reason}")]
    InvalidDigest {
        /// The text that was parsed.
        digest: String,
        /// The reason.
        reason: &'static str,
    },

    /// An image reference that is not `[domain/]path[:tag][@digest]`.
    #[error("invalid image reference {reference:?}: {part} {reason}")]
    InvalidReference {
        /// The text that was parsed.
        reference: String,
        /// The part that is wrong.
        part: ReferencePart,
        /// The reason, as a predicate of the part: "must not be empty".
        reason: String,
    },

    /// An image reference whose repository has capital letters.
    #[error("invalid image reference {reference:?}: repository name {repository:?} must be lowercase")]
    UppercaseRepository {
        /// The text that was parsed.
        reference: String,
        /// Its repository part.
        repository: String,
    },

    /// The name of an image that cannot be split into its parts.
    #[error("invalid Docker image format: {reason}")]
    InvalidImageName {
        /// The error of the reference.
        reason: Box<Error>,
    },

    /// A platform that is not `os/architecture[/variant]`.
    #[error("invalid platform {platform:?}: {reason}")]
    InvalidPlatform {
        /// The text that was parsed.
        platform: String,
        /// The reason.
        reason: &'static str,
    },

    /// An architecture that images cannot have.
    #[error("unsupported architecture: {architecture}")]
    UnsupportedArchitecture {
        /// The text that was parsed.
        architecture: String,
    },

    /// A document that exceeds the size limit of its kind.
    #[error("{document} is {size} bytes long; {limit} is the limit")]
    DocumentTooLarge {
        /// The kind of the document.
        document: DocumentKind,
        /// The length of the document in bytes.
        size: u64,
        /// The largest allowed length in bytes.
        limit: u64,
    },

    /// A document with more elements of one kind than the limit.
    #[error("{document} {digest}: {what} (line {line}, column {column})")]
    DocumentLimit {
        /// The kind of the document.
        document: DocumentKind,
        /// The digest of the document.
        digest: Digest,
        /// The limit that was exceeded, as text.
        what: String,
        /// The line where the limit was exceeded, from 1.
        line: usize,
        /// The column in that line, from 1.
        column: usize,
    },

    /// A document that is not JSON, or has a missing or invalid field.
    #[error("invalid {document} {digest}: {reason}")]
    InvalidDocument {
        /// The kind of the document.
        document: DocumentKind,
        /// The SHA-256 digest of the document's bytes.
        digest: Digest,
        /// The reason, with line and column if it concerns one place.
        reason: String,
    },

    /// A document that some readers parse as a manifest and others as an index (CVE-2021-41190).
    #[error("ambiguous manifest {digest}: it has {fields}, which only different kinds of document may have")]
    AmbiguousManifest {
        /// The SHA-256 digest of the document's bytes.
        digest: Digest,
        /// The fields that exclude each other.
        fields: String,
    },

    /// A Docker schema 1 manifest.
    #[error(
        "manifest {digest} is of Docker's obsolete schema 1, which only copies and `inspect` read; copy the image in the OCI format first"
    )]
    Schema1 {
        /// The SHA-256 digest of the document's bytes.
        digest: Digest,
    },

    /// A document whose media type is neither that of a manifest nor that of an index.
    #[error("manifest {digest} has the type {media_type:?}, which is neither an image manifest nor an image index")]
    UnsupportedMediaType {
        /// The SHA-256 digest of the document's bytes.
        digest: Digest,
        /// The media type.
        media_type: String,
    },

    /// A document whose `mediaType` differs from the sender's content type (OCI distribution-spec, "Pulling
    /// manifests").
    #[error("manifest {digest} says it is of type {declared:?} but was sent as {content_type:?}")]
    MediaTypeMismatch {
        /// The SHA-256 digest of the document's bytes.
        digest: Digest,
        /// The type in the document.
        declared: String,
        /// The type in the `Content-Type` header or in the descriptor.
        content_type: String,
    },

    /// A document that cannot have the requested format.
    #[error("image {digest} cannot become {format}: {reason}")]
    Conversion {
        /// The digest of the manifest or index.
        digest: Digest,
        /// The format, with its article.
        format: String,
        /// The reason.
        reason: String,
    },

    /// An edit that would leave no entry in an index.
    #[error("index {digest} would have no entries left")]
    EmptyIndex {
        /// The digest of the index.
        digest: Digest,
    },

    /// A signature cannot be made, because the system has no random numbers.
    #[error("cannot sign a schema 1 manifest: the system's random number generator fails")]
    Signing,

    /// Bytes that are not the config that a manifest refers to.
    #[error("manifest {manifest} has the config {expected}, but was given {actual}")]
    WrongConfig {
        /// The digest of the manifest.
        manifest: Digest,
        /// The digest of its config.
        expected: Digest,
        /// The SHA-256 digest of the bytes.
        actual: Digest,
    },

    /// An image that does not exist for the requested platform.
    #[error("image architecture mismatch: image is for {actual} but expected {expected}")]
    ArchitectureMismatch {
        /// The requested platform, without the operating system if all are Linux.
        expected: String,
        /// The image's platforms in the same form, joined by commas.
        actual: String,
        /// The image's platforms.
        available: Vec<Platform>,
    },

    /// An image whose nested indexes name too many documents before an image is found.
    #[error("no image found in the first {limit} documents that the image's indexes name")]
    SearchTooLong {
        /// The largest number of documents that are read.
        limit: usize,
    },

    /// A config without the list of layers.
    #[error("invalid image JSON, no RootFS key: image config {digest}")]
    NoRootFs {
        /// The digest of the config.
        digest: Digest,
    },

    /// A config whose history has more steps with a layer than there are layers.
    #[error(
        "too many non-empty layers in History section: image config {digest} has {layers} layers and {steps} steps"
    )]
    TooMuchHistory {
        /// The digest of the config.
        digest: Digest,
        /// The number of steps with a layer.
        steps: usize,
        /// The number of layers.
        layers: usize,
    },

    /// An operating system whose programs do not run on this machine.
    #[error("operating system {os:?} is not supported on this machine")]
    UnsupportedOs {
        /// The operating system.
        os: String,
    },

    /// A change of an image's config that is not possible.
    #[error("invalid change {change:?}: {reason}")]
    InvalidChange {
        /// The instruction, or its name.
        change: String,
        /// The reason.
        reason: String,
    },

    /// A config whose number of diff ids differs from its manifest's number of layers.
    #[error("config {config} has {} but manifest {manifest} has {}", counted(*diff_ids, "diff id"), counted(*layers, "layer"))]
    LayerCountMismatch {
        /// The digest of the config.
        config: Box<Digest>,
        /// The number of diff ids in the config.
        diff_ids: usize,
        /// The digest of the manifest.
        manifest: Box<Digest>,
        /// The number of layers in the manifest.
        layers: usize,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller, for a document of an image.
    ///
    /// An invalid name, platform or digest counts as damage of the document. For text that the caller gave, use
    /// [`Error::kind_of_argument`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ArchitectureMismatch { .. } => ErrorKind::NotFound,
            Self::Conversion { .. } | Self::EmptyIndex { .. } | Self::InvalidChange { .. } => ErrorKind::Usage,
            Self::DocumentTooLarge { .. } | Self::DocumentLimit { .. } | Self::SearchTooLong { .. } => ErrorKind::Limit,
            Self::Signing | Self::UnsupportedOs { .. } => ErrorKind::Other,
            _ => ErrorKind::Integrity,
        }
    }

    /// Returns the meaning of the error for an argument of the caller: a name, a platform or a digest.
    pub fn kind_of_argument(&self) -> ErrorKind {
        match self {
            Self::InvalidDigest { .. }
            | Self::InvalidReference { .. }
            | Self::UppercaseRepository { .. }
            | Self::InvalidImageName { .. }
            | Self::InvalidPlatform { .. }
            | Self::UnsupportedArchitecture { .. } => ErrorKind::Usage,
            _ => self.kind(),
        }
    }
}

/// The kind of the document that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// A manifest or an index that is not parsed yet.
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
    /// The text after the colon.
    Tag,
    /// The text after the at sign.
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
