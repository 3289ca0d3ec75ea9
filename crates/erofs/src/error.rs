//! Why an image cannot be written.

use std::io;
use std::path::PathBuf;

use vmroot_container_fs::ContainerFs;
use vmroot_errors::ErrorKind;
use vmroot_output::{Cancelled, MoveError};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The whole root is beyond what the form can hold.
    #[error("the root is too large for EROFS: {what}")]
    TooLarge {
        /// The quantity that is too large, and the limit.
        what: String,
    },
    /// The form cannot hold all of the root, and nothing was to be left out.
    #[error(transparent)]
    Incomplete(#[from] vmroot_output::Incomplete),
    /// A path that the list of an image's parts cannot have.
    #[error("{}: a path with {what} cannot be listed", path.display())]
    Unlistable {
        /// The path.
        path: PathBuf,
        /// What is in it.
        what: &'static str,
    },
    /// A path that is longer than the readers of a list of files take.
    #[error("{}: a path of more than {limit} bytes cannot be listed", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The most bytes that it may have.
        limit: usize,
    },
    /// The system refused a step on a file: no space, no permission, a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// The image cannot be written: no space, a bad disk.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// The hook asked to stop. What was written before is left.
    #[error("stopped before everything was written")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Root(error) => error.kind(),
            Self::TooLarge { .. } | Self::PathTooLong { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
            Self::Write(source) => ErrorKind::of_io(source),
            _ => ErrorKind::Other,
        }
    }
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Error {
    /// A failed move of contents.
    pub(crate) fn moving(fs: &ContainerFs) -> impl Fn(MoveError) -> Self {
        |error| match error {
            MoveError::Read { file, source } => fs.unreadable(file, source).into(),
            MoveError::Write(source) => Self::Write(source),
        }
    }
}
