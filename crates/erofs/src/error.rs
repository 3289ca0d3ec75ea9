//! Errors from writing an EROFS image.

use std::io;
use std::path::{Path, PathBuf};

use vmroot_container_fs::ContainerFs;
use vmroot_errors::ErrorKind;
use vmroot_output::{Cancelled, MoveError};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from writing an EROFS image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The root exceeds the capacity of an EROFS image.
    #[error("the root is too large for EROFS: {what}")]
    TooLarge {
        /// The quantity that is too large, and the limit.
        what: String,
    },
    /// EROFS cannot hold some entries, and the options forbid omissions.
    #[error(transparent)]
    Incomplete(#[from] vmroot_output::Incomplete),
    /// A path that cannot be written in the list of the image's parts.
    #[error("{}: a path with {what} cannot be listed", path.display())]
    Unlistable {
        /// The path.
        path: PathBuf,
        /// The character that the list cannot hold.
        what: &'static str,
    },
    /// A path that is longer than readers of the list accept.
    #[error("{}: a path of more than {limit} bytes cannot be listed", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The largest length in bytes.
        limit: usize,
    },
    /// A system call failed: no space, no permission, or a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// The image cannot be written: no space, or a bad disk. An export to a path returns [`Self::Io`] instead.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// The progress hook cancelled the export.
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
            Self::Incomplete(_) | Self::Unlistable { .. } => ErrorKind::Other,
        }
    }
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Error {
    /// Adds the path of the image to an error of writing it.
    pub(crate) fn at(path: &Path) -> impl FnOnce(Self) -> Self {
        move |error| match error {
            Self::Write(source) => vmroot_output::Error::on("write", path)(source).into(),
            error => error,
        }
    }

    /// Converts the error of a failed copy of file contents.
    pub(crate) fn moving(fs: &ContainerFs) -> impl Fn(MoveError) -> Self {
        |error| match error {
            MoveError::Read { file, offset, source } => fs.unreadable(file, offset, source).into(),
            MoveError::Write(source) => Self::Write(source),
        }
    }
}
