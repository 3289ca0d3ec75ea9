//! Errors from reading changes, writing them as a layer, and adding them to a root.

use std::path::PathBuf;

use vmroot_errors::{Classified, ErrorKind, Limit};
use vmroot_ext4::ReadError;
use vmroot_output::{Cancelled, Incomplete};

use crate::layer::SHARED_PATHS_LIMIT;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from reading changes, writing them as a layer, or adding them to a root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed: no space, no permission, or a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// The tar of the layer cannot be written.
    #[error(transparent)]
    Export(vmroot_export::Error),
    /// A compression that vmroot cannot write, or a level that the compression does not have.
    #[error(transparent)]
    Compression(#[from] vmroot_compress::Error),
    /// An entry whose name is that of a whiteout in a layer.
    #[error("{}: a name that begins with .wh. means a deletion in a layer", .0.display())]
    ReservedName(PathBuf),
    /// An entry of an upper directory whose metadata or data is partly in the lower directories.
    #[error("{}: {what}", path.display())]
    Unportable {
        /// The entry.
        path: PathBuf,
        /// The reason.
        what: &'static str,
        /// The mount option that prevents such entries.
        advice: &'static str,
    },
    /// An upper directory of an overlay whose marks this process may not read. No output was written.
    #[error(
        "{}: only root can read which directories the overlay hides (trusted.overlay.*), and without that, deleted files \
         would come back",
        .0.display()
    )]
    UnseenMarks(PathBuf),
    /// An ext4 disk cannot be read, or is damaged.
    #[error("{}", path.display())]
    Disk {
        /// The disk, or an entry of it.
        path: PathBuf,
        /// The reason.
        source: ReadError,
    },
    /// A guest or another process uses the disk.
    #[error("{}: in use by a guest or a mount", .0.display())]
    DiskInUse(PathBuf),
    /// A disk with a whole root, whose changes can only be found by comparing it with the root that it began with.
    #[error("{}: the disk has no directories upper and work, so its changes are those to an image", .0.display())]
    NoBase(PathBuf),
    /// A tree exceeds a limit.
    #[error("{what} (limit {limit})")]
    Limit {
        /// The quantity that is too large.
        what: String,
        /// The name of the limit in `docs/limits.md`.
        limit: &'static str,
    },
    /// A layer cannot hold some entries, and the options forbid omissions.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// The layer cannot be indexed.
    #[error(transparent)]
    Index(#[from] vmroot_layer_index::Error),
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// A layer or a file that cannot be added to the root.
    #[error("{what}")]
    OnTop {
        /// The layer, or `SOURCE to DESTINATION`.
        what: String,
        /// The reason.
        source: Box<Error>,
    },
    /// A path in the image that cannot be the destination.
    #[error("{0}")]
    Placement(String),
    /// The caller cancelled the work.
    #[error("stopped before everything was written")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(error) => match Classified::of(&error.source) {
                Some(classified) => classified.kind(),
                None => ErrorKind::of_named_file(&error.source),
            },
            Self::Disk { source, .. } => source.kind(),
            Self::Limit { .. } => ErrorKind::Limit,
            Self::Export(error) => error.kind(),
            Self::Compression(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Root(error) => error.kind(),
            Self::OnTop { source, .. } => source.kind(),
            Self::DiskInUse(_) => ErrorKind::InUse,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::ReservedName(_)
            | Self::Unportable { .. }
            | Self::UnseenMarks(_)
            | Self::NoBase(_)
            | Self::Incomplete(_)
            | Self::Placement(_) => ErrorKind::Other,
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Io(error) => Classified::of(&error.source).and_then(Classified::limit),
            Self::Disk { source, .. } => source.limit(),
            Self::Limit { limit, .. } => Some(Limit::named(limit)),
            Self::Export(error) => error.limit(),
            Self::Compression(error) => error.limit(),
            Self::Index(error) => error.limit(),
            Self::OnTop { source, .. } => source.limit(),
            _ => None,
        }
    }
}

impl From<vmroot_export::Error> for Error {
    fn from(error: vmroot_export::Error) -> Self {
        match error {
            vmroot_export::Error::Cancelled => Self::Cancelled,
            vmroot_export::Error::Io(error) => Self::Io(error),
            vmroot_export::Error::Compression(error) => Self::Compression(error),
            error => Self::Export(error),
        }
    }
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Error {
    /// Returns a closure for `map_err` that adds the name of the layer or file.
    pub(crate) fn on_top(what: String) -> impl FnOnce(Self) -> Self {
        move |source| Self::OnTop { what, source: Box::new(source) }
    }

    /// Returns the error for too many files with several names.
    pub(crate) fn shared_paths() -> Self {
        let what = format!("the paths of files with several names have more than {SHARED_PATHS_LIMIT} bytes");
        Self::Limit { what, limit: "SHARED_PATHS_LIMIT" }
    }
}
