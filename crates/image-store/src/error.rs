//! Errors from the image store.

use std::path::PathBuf;

use vmroot_errors::{ErrorKind, Limit};
use vmroot_model::{Descriptor, Digest};
use vmroot_transport::ImageSource;

use crate::Record;

/// The number of candidates that an error for an ambiguous id lists.
const MAX_LISTED: usize = 32;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from pulling, loading, opening or removing an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store has no image with this name, id or prefix.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// The store has the image only for other platforms than the requested one, or than the host's.
    #[error("{name} is here for {available}, not for {wanted}")]
    OtherPlatforms {
        /// The image as requested.
        name: String,
        /// The requested platform, or the host's.
        wanted: String,
        /// The platforms in the store.
        available: String,
    },
    /// An id prefix that matches several images.
    #[error("{name} is ambiguous: {candidates}")]
    Ambiguous {
        /// The prefix.
        name: String,
        /// The matching ids.
        candidates: String,
    },
    /// A condition on images that cannot be parsed.
    #[error("filter {filter:?}: {reason}")]
    InvalidFilter {
        /// The condition.
        filter: String,
        /// The reason.
        reason: String,
    },
    /// A name that cannot be given to an image, or taken from it.
    #[error("{name}: {reason}")]
    InvalidTag {
        /// The name.
        name: String,
        /// The reason.
        reason: String,
    },
    /// A layer of a new image that no image of the store has.
    #[error("image {id}: the layer {diff_id} of the chain {chain_id} is not in the store")]
    NoLayer {
        /// The id of the new image.
        id: Digest,
        /// The digest of the layer's uncompressed tar.
        diff_id: Digest,
        /// The chain id of the layer and those below it.
        chain_id: Digest,
    },
    /// A parent that would make an image its own ancestor.
    #[error("{parent} cannot be the parent of {id}: it is that image, or was made from it")]
    Cycle {
        /// The id of the image.
        id: Digest,
        /// The id of the parent.
        parent: Digest,
    },
    /// A name that is neither a reference nor an id.
    #[error("{source}")]
    InvalidName {
        /// The cause, which has the name.
        source: Box<vmroot_model::Error>,
    },
    /// A saved archive that cannot be written.
    #[error("cannot write the archive")]
    WriteArchive {
        /// The error of the writer.
        source: std::io::Error,
    },
    /// An archive to load has more or larger documents than a limit.
    #[error("{image}: the limit is {limit} {what}")]
    Documents {
        /// The name of the image in the archive.
        image: String,
        /// The quantity that exceeds the limit, with its unit.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The name of the limit in `docs/limits.md`.
        name: &'static str,
    },
    /// A layer of an archive cannot be loaded.
    #[error("{image}: {member}")]
    Member {
        /// The name of the image in the archive.
        image: String,
        /// The archive's member.
        member: String,
        /// The cause.
        source: Box<Error>,
    },
    /// A document of the image is invalid.
    #[error("{image}")]
    Image {
        /// The image as requested.
        image: String,
        /// The cause.
        source: Box<vmroot_model::Error>,
    },
    /// The document describes an artifact that is not an image.
    #[error("{image} is not an image but {what}")]
    NotAnImage {
        /// The image as requested.
        image: String,
        /// The type of the artifact.
        what: String,
    },
    /// A blob whose size or digest differs from its descriptor.
    #[error("{image}: blob {digest} {reason}")]
    Blob {
        /// The image that the blob belongs to.
        image: String,
        /// The digest of the blob.
        digest: Digest,
        /// The reason.
        reason: String,
    },
    /// A new layer that cannot be read or compressed.
    #[error("{name}")]
    NewLayer {
        /// The file or directory of the layer.
        name: String,
        /// The cause.
        source: Box<vmroot_compress::Error>,
    },
    /// A new layer whose entries cannot be applied.
    #[error("{name}")]
    NewLayerEntry {
        /// The file or directory of the layer.
        name: String,
        /// The cause, with the name of the entry.
        source: Box<vmroot_layer_index::Error>,
    },
    /// A layer that cannot be read or applied.
    #[error("layer {digest}")]
    Layer {
        /// The digest of the layer's blob.
        digest: Digest,
        /// The cause, with the name of the entry.
        source: Box<vmroot_layer_index::Error>,
    },
    /// A layer whose compressed stream is damaged or exceeds a limit.
    #[error("layer {digest}")]
    Decompress {
        /// The digest of the layer's blob.
        digest: Digest,
        /// The cause.
        source: Box<vmroot_compress::Error>,
    },
    /// An encrypted layer that cannot be decrypted.
    #[error("layer {digest}")]
    Encrypted {
        /// The digest of the layer's blob.
        digest: Digest,
        /// The cause.
        source: Box<vmroot_encryption::Error>,
    },
    /// An image with encrypted layers, which an archive of plain layers cannot have.
    #[error("{image} has encrypted layers, and the archive would have plain ones")]
    SaveEncrypted {
        /// The name of the image, or else its id.
        image: String,
    },
    /// A file of the store is damaged, and the file that it is made from is missing. The image must be pulled again.
    #[error("{path}: damaged, and cannot be rebuilt without {missing}", path = path.display())]
    Damaged {
        /// The damaged or missing file.
        path: PathBuf,
        /// The digest of the missing file.
        missing: Digest,
        /// The remedy, as in "pull the image again".
        again: String,
    },
    /// A document of an image does not name the next one. The record of the image was edited.
    #[error("{image}: the document {document} does not name {next}, which the record of the image says")]
    BrokenChain {
        /// The name of the image, or else its id.
        image: String,
        /// The document.
        document: Digest,
        /// The digest that it should name.
        next: Digest,
    },
    /// A user of the store does not list the files that it needs, so no files can be removed.
    #[error("{path}: in use by {by}, so nothing can be removed", path = path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
        /// The user.
        by: String,
    },
    /// A change of an image that only a shared cache has.
    #[error("{name} is in the shared cache {directory}, which is only read", directory = directory.display())]
    Shared {
        /// The name of the image, or else its id.
        name: String,
        /// The directory of the shared cache.
        directory: PathBuf,
    },
    /// The cache would be larger than [`StoreOptions::max_size`](crate::StoreOptions::max_size), even without all images
    /// that nothing uses.
    #[error(
        "{image}: {need}, and the cache may take {budget}{kept}",
        need = match needed {
            0 => format!("with it, and without all unused images, the cache takes {size} bytes"),
            _ => format!("needs {needed} more bytes, without all unused images, the cache takes {size} bytes"),
        }
    )]
    Budget {
        /// The image that was pulled, loaded or committed.
        image: String,
        /// The bytes that it needs at least, besides those in the cache.
        needed: u64,
        /// The disk space in bytes that the cache takes without the images that nothing uses.
        size: u64,
        /// The disk space in bytes that it may take.
        budget: u64,
        /// The images that stay, and what uses them, as in "; in use: …". May be empty.
        kept: String,
    },
    /// An id of a lease that has not the form of one.
    #[error(
        "{0:?} is not an id of a lease: expected at most 128 letters, digits, `.`, `_` and `-`, and a letter or digit first"
    )]
    LeaseId(String),
    /// A lease with this id exists.
    #[error("the lease {0} exists")]
    LeaseExists(String),
    /// There is no lease with this id.
    #[error("no such lease: {0}")]
    NoSuchLease(String),
    /// An image record of which both copies are damaged.
    #[error("image record {path}: {reason}", path = path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The work was cancelled. Fetched bytes are kept, and the next attempt resumes after them.
    #[error("cancelled")]
    Cancelled,
    /// A thread cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(String),
    /// An error from the source of the image.
    #[error(transparent)]
    Source(#[from] vmroot_transport::Error),
    /// An error from the cache.
    #[error(transparent)]
    Cache(#[from] vmroot_cache::Error),
    /// An error from the root.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// An error from an index or a merge.
    #[error(transparent)]
    Index(#[from] vmroot_layer_index::Error),
}

impl From<vmroot_output::Error> for Error {
    fn from(error: vmroot_output::Error) -> Self {
        Self::Cache(error.into())
    }
}

impl Error {
    /// Converts an error from reading and checking a document or layer of an image. Wrong bytes are an error of the
    /// image, and others of its source.
    pub(crate) fn of_source(image: String, error: vmroot_transport::Error) -> Self {
        use vmroot_transport::Error as Source;
        match error {
            Source::WrongBlob { digest, reason, .. } => Self::Blob { image, digest, reason },
            Source::ReadBlob { digest, source, .. } => {
                Self::Blob { image, digest, reason: format!("cannot be read: {source}") }
            }
            error if error.kind() == ErrorKind::Cancelled => Self::Cancelled,
            error => Self::Source(error),
        }
    }

    /// Converts an error from storing a blob of an image. Wrong bytes are an error of the image.
    pub(crate) fn of_stored(image: String, error: vmroot_cache::Error) -> Self {
        use vmroot_cache::Error as Stored;
        let (digest, reason) = match error {
            Stored::DigestMismatch { digest, actual, .. } => {
                (digest, format!("has other bytes: their digest is {actual}"))
            }
            Stored::TooLong { digest, size, .. } => {
                (digest, format!("has more than the {size} bytes of its descriptor"))
            }
            Stored::TooShort { digest, size, actual, .. } => {
                (digest, format!("has {actual} bytes, its descriptor says {size}"))
            }
            error => return Self::Cache(error),
        };
        Self::Blob { image, digest, reason }
    }

    /// Adds the names of the image and of the layer's member, if the source is an archive.
    pub(crate) fn of_member(self, source: &dyn ImageSource, layer: &Descriptor) -> Self {
        let error = match self {
            Self::Cache(error) => Self::of_stored(source.name(), error),
            error => error,
        };
        match (source.member(&layer.digest), error) {
            (Some(member), Self::Blob { image, digest, reason }) => {
                Self::Blob { image: format!("{image}: {member}"), digest, reason }
            }
            (Some(member), error @ (Self::Layer { .. } | Self::Decompress { .. } | Self::Encrypted { .. })) => {
                Self::Member { image: source.name(), member, source: Box::new(error) }
            }
            (_, error) => error,
        }
    }

    /// Returns the error for a damaged file that cannot be rebuilt.
    pub(crate) fn damaged(path: PathBuf, missing: Digest) -> Self {
        Self::Damaged { path, missing, again: "pull the image again".to_owned() }
    }

    /// Returns the error for a writer of a saved archive that failed.
    pub(crate) fn write_archive(source: std::io::Error) -> Self {
        Self::WriteArchive { source }
    }

    /// Returns the error for a prefix of several ids. It lists the first candidates, and counts the others.
    pub(crate) fn ambiguous(name: &str, candidates: impl ExactSizeIterator<Item = String>) -> Self {
        let others = candidates.len().saturating_sub(MAX_LISTED);
        let mut listed: Vec<String> = candidates.take(MAX_LISTED).collect();
        if others > 0 {
            listed.push(format!("and {others} more"));
        }
        Self::Ambiguous { name: name.to_owned(), candidates: listed.join(", ") }
    }

    /// Adds the image's name and origin to the remedy of [`Error::Damaged`].
    pub(crate) fn of_image(mut self, record: &Record) -> Self {
        if let Self::Damaged { again, .. } = &mut self {
            let name = record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string);
            *again = match &record.loaded_from {
                Some(origin) => format!("load {name} again from {origin}"),
                None => format!("pull {name} again"),
            };
            if let Some(directory) = &record.shared_cache {
                let directory = directory.display();
                *again = format!("make the shared cache {directory}, which has the image, readable again, or {again}");
            }
        }
        self
    }

    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage(_) | Self::OtherPlatforms { .. } | Self::NoLayer { .. } | Self::NoSuchLease(_) => {
                ErrorKind::NotFound
            }
            Self::Cycle { .. }
            | Self::InvalidFilter { .. }
            | Self::InvalidTag { .. }
            | Self::LeaseId(_)
            | Self::LeaseExists(_) => ErrorKind::Usage,
            Self::Member { source, .. } => source.kind(),
            Self::Image { source, .. } => source.kind(),
            Self::Layer { source, .. } | Self::NewLayerEntry { source, .. } => of_layer(source),
            Self::NewLayer { source, .. } | Self::Decompress { source, .. } => source.kind(),
            Self::InvalidName { source, .. } => source.kind_of_argument(),
            Self::Encrypted { source, .. } => source.kind(),
            Self::Documents { .. } | Self::Budget { .. } => ErrorKind::Limit,
            Self::WriteArchive { source } => ErrorKind::of_io(source),
            Self::Blob { .. } | Self::Damaged { .. } | Self::BrokenChain { .. } | Self::Record { .. } => {
                ErrorKind::Integrity
            }
            Self::Index(error) => error.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Source(error) => error.kind(),
            Self::Cache(error) => error.kind(),
            Self::Root(error) => error.kind(),
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Shared { .. }
            | Self::SaveEncrypted { .. }
            | Self::NotAnImage { .. }
            | Self::Ambiguous { .. }
            | Self::Threads(_) => ErrorKind::Other,
        }
    }
}

impl Error {
    /// Returns the limit that the image exceeded, if it has a name. The name is a field of
    /// [`Limits`](vmroot_compress::Limits) or [`BuildOptions`](vmroot_layer_index::BuildOptions), or a constant in
    /// `docs/limits.md`.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Layer { source, .. } | Self::NewLayerEntry { source, .. } => source.limit(),
            Self::NewLayer { source, .. } | Self::Decompress { source, .. } => source.limit(),
            Self::Encrypted { source, .. } => source.limit(),
            Self::Index(error) => error.limit(),
            Self::Source(error) => error.limit(),
            Self::Member { source, .. } => source.limit(),
            Self::Documents { name, .. } => Some(Limit::named(name)),
            Self::Budget { .. } => Some(Limit::MaxSize),
            _ => None,
        }
    }
}

/// Returns the kind of an error from reading an image's layer. A layer that cannot be read counts as damaged.
fn of_layer(error: &vmroot_layer_index::Error) -> ErrorKind {
    match error.kind() {
        kind @ (ErrorKind::Limit | ErrorKind::Cancelled | ErrorKind::NoSpace) => kind,
        _ => ErrorKind::Integrity,
    }
}
