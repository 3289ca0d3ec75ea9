//! A change that cannot be read, written as a layer, or put on top of a root.

use std::path::PathBuf;

use vmroot_errors::{ErrorKind, Limit};
use vmroot_output::{Cancelled, Incomplete};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A change that cannot be read, written as a layer, or put on top of a root.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused a step: no permission, no space, a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// The tar of the layer cannot be written.
    #[error(transparent)]
    Export(vmroot_export::Error),
    /// A compression that is not written, or a level that it does not have.
    #[error(transparent)]
    Compression(#[from] vmroot_compress::Error),
    /// An entry whose name means something else in a layer.
    #[error("{}: a name that begins with .wh. means a deletion in a layer", .0.display())]
    ReservedName(PathBuf),
    /// An entry of an upper directory that overlayfs has kept only a part of there.
    #[error("{}: {what}; changes made on an overlay mounted with {advice} can be exported", path.display())]
    Unportable {
        /// The entry.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// The mount option that prevents it.
        advice: &'static str,
    },
    /// An upper directory of an overlay, and a process that does not see its marks. Nothing was written.
    #[error(
        "{}: the overlay marks directories that hide what is below them by trusted.overlay.*, which only root sees \
         (CAP_SYS_ADMIN in the first user namespace): without these marks, deleted files would come back. Export it as \
         root; an overlay that was mounted with userxattr has marks that everybody sees, which --userxattr vouches for",
        .0.display()
    )]
    UnseenMarks(PathBuf),
    /// A layer cannot hold everything, and nothing was to be left out.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// The layer cannot be indexed.
    #[error(transparent)]
    Index(#[from] vmroot_layer_index::Error),
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// A layer or a file that cannot be put on top.
    #[error("{what}")]
    OnTop {
        /// The layer, or `SOURCE to DESTINATION`.
        what: String,
        /// The reason.
        source: Box<Error>,
    },
    /// A place in an image that something cannot go to.
    #[error("{0}")]
    Placement(String),
    /// The caller asked to stop.
    #[error("stopped before everything was written")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
            Self::Export(error) => error.kind(),
            Self::Compression(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Root(error) => error.kind(),
            Self::OnTop { source, .. } => source.kind(),
            Self::Cancelled => ErrorKind::Cancelled,
            _ => ErrorKind::Other,
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
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
    /// Names what was to go on top of an image, for `map_err`.
    pub(crate) fn on_top(what: String) -> impl FnOnce(Self) -> Self {
        move |source| Self::OnTop { what, source: Box::new(source) }
    }
}
