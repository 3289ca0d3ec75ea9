//! Why an image cannot be written.

use std::io;

use bstr::BString;
use vmroot_container_fs::{ContainerFs, InodeId};
use vmroot_errors::ErrorKind;
use vmroot_output::{Cancelled, MoveError};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something in the root is beyond what the form can hold.
    #[error("{path:?}: ext4 cannot hold {what}")]
    Unrepresentable {
        /// Where it is in the root.
        path: BString,
        /// What it is, and the limit.
        what: String,
    },
    /// The whole root is beyond what the form can hold.
    #[error("the root is too large for ext4: {what}")]
    TooLarge {
        /// The quantity that is too large, and the limit.
        what: String,
    },
    /// The form cannot hold all of the root, and nothing was to be left out.
    #[error(transparent)]
    Incomplete(#[from] vmroot_output::Incomplete),
    /// The size that was asked for has not room for everything.
    #[error("{size} bytes are too few: {needed} are needed")]
    TooSmall {
        /// What was asked for, in bytes.
        size: u64,
        /// The smallest size that does, in bytes.
        needed: u64,
    },
    /// The label is longer than a superblock can hold.
    #[error("the label has {length} bytes; ext4 holds at most {limit}")]
    LabelTooLong {
        /// The length of the label in bytes.
        length: usize,
        /// The longest label in bytes.
        limit: usize,
    },
    /// The system refused a step on the file: no space, no permission, a bad disk.
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
            Self::Unrepresentable { .. } | Self::TooLarge { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::LabelTooLong { .. } => ErrorKind::Usage,
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
    /// Something of an inode that the form cannot hold.
    pub(crate) fn unrepresentable(fs: &ContainerFs, ino: InodeId, what: String) -> Self {
        let path = fs.walk().find(|entry| entry.ino == ino).map(|entry| entry.path).unwrap_or_default();
        Self::Unrepresentable { path: path.into(), what }
    }

    /// A failed move of contents.
    pub(crate) fn moving(fs: &ContainerFs) -> impl Fn(MoveError) -> Self {
        |error| match error {
            MoveError::Read { file, source } => fs.unreadable(file, source).into(),
            MoveError::Write(source) => Self::Write(source),
        }
    }
}
