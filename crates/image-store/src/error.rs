//! What can go wrong with images and their store.

use std::path::PathBuf;

use vmroot_errors::{ErrorKind, Limit};
use vmroot_model::Digest;

use crate::Record;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with images and their store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image of that name, id or prefix is in the store.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// An image that is in the store, but not for the platform; without one asked for, for several and not for the host's.
    #[error(
        "{name} is here for {available}, not for {wanted}; ask for one of those platforms, or pull the image for {wanted}"
    )]
    OtherPlatforms {
        /// What was asked for.
        name: String,
        /// The platform that it should be for.
        wanted: String,
        /// What it is here for.
        available: String,
    },
    /// A prefix of several image ids.
    #[error("{name} is ambiguous: {candidates}")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What it could mean.
        candidates: String,
    },
    /// Something that is wrong with a document of the image.
    #[error("{image}")]
    Image {
        /// The image, as it was asked for.
        image: String,
        /// What is wrong.
        source: Box<vmroot_model::Error>,
    },
    /// A document that is no image: an artifact of another kind.
    #[error("{image} is not an image but {what}")]
    NotAnImage {
        /// What was asked for.
        image: String,
        /// Its type.
        what: String,
    },
    /// A blob that came from its source with another size or digest than its descriptor says.
    #[error("{image}: blob {digest} {reason}")]
    Blob {
        /// Where it came from.
        image: String,
        /// The blob.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A layer that cannot be read or applied.
    #[error("layer {digest}")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// What is wrong, and with which entry.
        source: Box<vmroot_layer_index::Error>,
    },
    /// A layer whose compression is broken, or that goes past a limit.
    #[error("layer {digest}")]
    Decompress {
        /// The layer's blob.
        digest: Digest,
        /// What is wrong.
        source: Box<vmroot_compress::Error>,
    },
    /// A file of the store is damaged, and what it was made from is not there: the image must be pulled again.
    #[error("{path}: damaged, and {missing} is not here to make it again; {again}", path = path.display())]
    Damaged {
        /// The damaged or missing file.
        path: PathBuf,
        /// What it is made from.
        missing: Digest,
        /// How to have it again, as in "…; pull the image again".
        again: String,
    },
    /// Others use the store, so nothing can be removed from it now.
    #[error("{path}: in use by another process; nothing was removed", path = path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// An image record that is damaged in both of its copies.
    #[error("image record {path}: {reason}", path = path.display())]
    Record {
        /// The record's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The work was cancelled. What was fetched is kept, and the next attempt goes on from there.
    #[error("cancelled")]
    Cancelled,
    /// Threads for the work cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(String),
    /// The source of the image.
    #[error(transparent)]
    Source(#[from] vmroot_transport::Error),
    /// The registry, while bytes were coming.
    #[error(transparent)]
    Registry(#[from] vmroot_registry::Error),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] vmroot_cache::Error),
    /// The root.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// A merge, or an index.
    #[error(transparent)]
    Index(#[from] vmroot_layer_index::Error),
}

impl From<vmroot_output::Error> for Error {
    fn from(error: vmroot_output::Error) -> Self {
        Self::Cache(error.into())
    }
}

impl Error {
    /// A file that is damaged and cannot be made again.
    pub(crate) fn damaged(path: PathBuf, missing: Digest) -> Self {
        Self::Damaged { path, missing, again: "pull the image again".to_owned() }
    }

    /// Says which image lacks something, and where that was from.
    pub(crate) fn of_image(mut self, record: &Record) -> Self {
        if let Self::Damaged { again, .. } = &mut self {
            let name = record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string);
            *again = match &record.loaded_from {
                Some(origin) => format!("load {name} again from {origin}"),
                None => format!("pull {name} again"),
            };
        }
        self
    }

    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchImage(_) | Self::OtherPlatforms { .. } => ErrorKind::NotFound,
            Self::Image { source, .. } => source.kind(),
            Self::Layer { source, .. } => of_layer(source),
            Self::Decompress { source, .. } => source.kind(),
            Self::Blob { .. } | Self::Damaged { .. } | Self::Record { .. } => ErrorKind::Integrity,
            Self::Index(error) => error.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Source(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Cache(error) => error.kind(),
            Self::Root(error) => error.kind(),
            Self::InUse { .. } => ErrorKind::InUse,
            Self::NotAnImage { .. } | Self::Ambiguous { .. } | Self::Threads(_) => ErrorKind::Other,
        }
    }
}

impl Error {
    /// The name of the limit that was in the way, where one was: a field of [`Limits`](vmroot_compress::Limits) or of
    /// [`BuildOptions`](vmroot_layer_index::BuildOptions), or a constant of `docs/limits.md`.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Layer { source, .. } => source.limit(),
            Self::Decompress { source, .. } => source.limit(),
            Self::Index(error) => error.limit(),
            Self::Source(error) => error.limit(),
            _ => None,
        }
    }
}

/// Returns the kind of an error of an image's layer: one that cannot be read for any reason is damaged.
fn of_layer(error: &vmroot_layer_index::Error) -> ErrorKind {
    match error.kind() {
        kind @ (ErrorKind::Limit | ErrorKind::Cancelled | ErrorKind::NoSpace) => kind,
        _ => ErrorKind::Integrity,
    }
}
