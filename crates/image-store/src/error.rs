//! What can go wrong with images and their store.

use std::path::PathBuf;

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
    #[error("{image}: {source}")]
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
    #[error("layer {digest}: {source}")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// What is wrong, and with which entry.
        source: Box<vmroot_layer_index::Error>,
    },
    /// A layer whose compression is broken, or that goes past a limit.
    #[error("layer {digest}: {source}")]
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

/// What an error means to the caller: the program's exit codes are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The image, or the thing asked for, does not exist.
    NotFound,
    /// The registry does not let us.
    Authentication,
    /// A name, a platform or another argument that means nothing.
    Usage,
    /// Bytes are not what a digest, a size or a format says.
    Integrity,
    /// A limit was passed: one of those in `docs/limits.md`.
    Limit,
    /// Cancelled by the caller.
    Cancelled,
    /// Anything else.
    Other,
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
            Self::Image { source, .. } => ErrorKind::of_document(source),
            Self::Layer { source, .. } => ErrorKind::of_layer(source),
            Self::Decompress { source, .. } => ErrorKind::of_stream(source),
            Self::Blob { .. } | Self::Damaged { .. } | Self::Record { .. } => ErrorKind::Integrity,
            Self::Index(error) => ErrorKind::of_index(error),
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Source(error) => ErrorKind::of_source(error),
            Self::Registry(error) => ErrorKind::of_registry(error),
            Self::Cache(error) => ErrorKind::of_cache(error),
            Self::Root(error) => ErrorKind::of_root(error),
            Self::NotAnImage { .. } | Self::Ambiguous { .. } | Self::InUse { .. } | Self::Threads(_) => {
                ErrorKind::Other
            }
        }
    }
}

impl Error {
    /// The name of the limit that was in the way, where one was: a field of [`Limits`](vmroot_compress::Limits) or of
    /// [`BuildOptions`](vmroot_layer_index::BuildOptions), or a constant of `docs/limits.md`.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Layer { source, .. } => limit_of_index(source),
            Self::Decompress { source, .. } => limit_of_stream(source),
            Self::Index(error) => limit_of_index(error),
            Self::Source(vmroot_transport::Error::Decompress { source, .. }) => limit_of_stream(source),
            _ => None,
        }
    }
}

/// The limit that a layer goes over.
pub fn limit_of_index(error: &vmroot_layer_index::Error) -> Option<&'static str> {
    match error {
        vmroot_layer_index::Error::Limit { name, .. } | vmroot_layer_index::Error::EntryLimit { name, .. } => {
            Some(name)
        }
        vmroot_layer_index::Error::Stream { source, .. } => limit_of_stream(vmroot_compress::Error::in_io(source)?),
        _ => None,
    }
}

/// The option whose limit a compressed stream goes over.
pub fn limit_of_stream(error: &vmroot_compress::Error) -> Option<&'static str> {
    match error {
        vmroot_compress::Error::OutputLimit { .. } => Some("max_output"),
        vmroot_compress::Error::DataLimit { .. } => Some("max_data"),
        vmroot_compress::Error::RatioLimit { .. } => Some("max_ratio"),
        vmroot_compress::Error::MemoryLimit { compression: vmroot_compress::Compression::Zstd, .. } => {
            Some("zstd_window_log")
        }
        _ => None,
    }
}

impl ErrorKind {
    /// What an error of the model means where a name, a platform or a digest came from the caller.
    pub fn of_argument(error: &vmroot_model::Error) -> ErrorKind {
        use vmroot_model::Error as E;
        match error {
            E::InvalidDigest { .. }
            | E::InvalidReference { .. }
            | E::UppercaseRepository { .. }
            | E::InvalidPlatform { .. }
            | E::UnsupportedArchitecture { .. } => ErrorKind::Usage,
            _ => ErrorKind::of_document(error),
        }
    }

    /// What an error of the model means where a document of an image has the fault.
    pub fn of_document(error: &vmroot_model::Error) -> ErrorKind {
        use vmroot_model::Error as E;
        match error {
            E::ArchitectureMismatch { .. } => ErrorKind::NotFound,
            E::DocumentTooLarge { .. } | E::DocumentLimit { .. } | E::SearchTooLong { .. } => ErrorKind::Limit,
            _ => ErrorKind::Integrity,
        }
    }

    /// What an error of a compressed stream means.
    pub fn of_stream(error: &vmroot_compress::Error) -> ErrorKind {
        use vmroot_compress::Error as E;
        match error {
            E::OutputLimit { .. } | E::DataLimit { .. } | E::RatioLimit { .. } | E::MemoryLimit { .. } => {
                ErrorKind::Limit
            }
            E::NotWritten(_) | E::Level { .. } => ErrorKind::Usage,
            E::Io(_) | E::Thread(_) | E::Panicked => ErrorKind::Other,
            _ => ErrorKind::Integrity,
        }
    }

    /// What an error of an image's layer means: one that cannot be read for any reason is damaged.
    fn of_layer(error: &vmroot_layer_index::Error) -> ErrorKind {
        match ErrorKind::of_index(error) {
            kind @ (ErrorKind::Limit | ErrorKind::Cancelled) => kind,
            _ => ErrorKind::Integrity,
        }
    }

    /// What an error of a source means.
    pub fn of_source(error: &vmroot_transport::Error) -> ErrorKind {
        use vmroot_transport::Error as E;
        match error {
            E::Registry(error) => ErrorKind::of_registry(error),
            E::Missing { .. } | E::NoSuchImage { .. } | E::NoImages { .. } | E::Unknown { .. } => ErrorKind::NotFound,
            E::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            E::InvalidName { .. } => ErrorKind::Usage,
            E::Document { source, .. } => ErrorKind::of_document(source),
            E::Decompress { source, .. } => ErrorKind::of_stream(source),
            E::ReadTar { source, .. } => ErrorKind::of_source(source),
            E::ArchiveLimit { .. } | E::MemberTooLarge { .. } | E::TooManyLinks { .. } => ErrorKind::Limit,
            E::DigestMismatch { .. }
            | E::Member { .. }
            | E::LayerCount { .. }
            | E::NotAnArchive { .. }
            | E::NoManifestJson { .. }
            | E::NullManifest { .. } => ErrorKind::Integrity,
            _ => ErrorKind::Other,
        }
    }

    /// What an error of a registry means.
    pub fn of_registry(error: &vmroot_registry::Error) -> ErrorKind {
        use vmroot_registry::Error as E;
        match error {
            E::NotFound { .. } => ErrorKind::NotFound,
            E::Unauthorized { .. } | E::Challenge { .. } | E::Token { .. } => ErrorKind::Authentication,
            E::DigestMismatch { .. } | E::SizeMismatch { .. } | E::Range { .. } => ErrorKind::Integrity,
            E::TooLarge { .. } | E::TooManyRedirects { .. } => ErrorKind::Limit,
            E::Cancelled => ErrorKind::Cancelled,
            _ => ErrorKind::Other,
        }
    }

    fn of_cache(error: &vmroot_cache::Error) -> ErrorKind {
        use vmroot_cache::Error as E;
        match error {
            E::DigestMismatch { .. } | E::SizeMismatch { .. } | E::TooLong { .. } | E::TooShort { .. } => {
                ErrorKind::Integrity
            }
            E::GaveUp { .. } | E::Stopped { .. } => ErrorKind::Cancelled,
            _ => ErrorKind::Other,
        }
    }

    /// What an error of an index or of a layer means.
    pub fn of_index(error: &vmroot_layer_index::Error) -> ErrorKind {
        use vmroot_layer_index::Error as E;
        match error {
            E::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            // A disk that is full or bad says nothing of the layer.
            E::Io { .. } => ErrorKind::Other,
            E::Cancelled => ErrorKind::Cancelled,
            E::Limit { .. } | E::EntryLimit { .. } | E::TooLarge { .. } => ErrorKind::Limit,
            E::Stream { source, .. } => match vmroot_compress::Error::in_io(source) {
                Some(error) => ErrorKind::of_stream(error),
                None if source.raw_os_error().is_some() => ErrorKind::Other,
                None => ErrorKind::Integrity,
            },
            _ => ErrorKind::Integrity,
        }
    }

    /// What an error of a root means.
    pub fn of_root(error: &vmroot_container_fs::Error) -> ErrorKind {
        use vmroot_container_fs::Error as E;
        match error {
            E::NotFound(_) | E::NotADirectory(_) | E::NoSuchUser(_) | E::NoSuchGroup(_) => ErrorKind::NotFound,
            E::TooManyLinks(_) | E::DatabaseTooLarge { .. } => ErrorKind::Limit,
            E::Contents { .. } | E::Index(_) => ErrorKind::Integrity,
            _ => ErrorKind::Other,
        }
    }
}
