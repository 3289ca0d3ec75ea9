//! Errors from writing an ext4 image.

use std::io;
use std::path::{Path, PathBuf};

use bstr::BString;
use vmroot_container_fs::{ContainerFs, InodeId};
use vmroot_errors::ErrorKind;
use vmroot_output::{Cancelled, MoveError};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from writing an ext4 image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An entry of the root has a property that ext4 cannot hold.
    #[error("{path:?}: ext4 cannot hold {what}")]
    Unrepresentable {
        /// The path of the entry in the root.
        path: BString,
        /// The property and its limit.
        what: String,
    },
    /// The root exceeds the capacity of an ext4 file system.
    #[error("the root is too large for ext4: {what}")]
    TooLarge {
        /// The quantity that is too large, and the limit.
        what: String,
    },
    /// Ext4 cannot hold some entries, and the options forbid omissions.
    #[error(transparent)]
    Incomplete(#[from] vmroot_output::Incomplete),
    /// The requested size is too small for the root.
    #[error("{size} bytes are too few: {needed} are needed")]
    TooSmall {
        /// The requested size in bytes.
        size: u64,
        /// The smallest sufficient size in bytes.
        needed: u64,
    },
    /// An error of an export to a path.
    #[error("{}", path.display())]
    Output {
        /// The path.
        path: PathBuf,
        /// The error.
        source: Box<Error>,
    },
    /// The label is longer than a superblock can hold.
    #[error("the label has {length} bytes; ext4 holds at most {limit}")]
    LabelTooLong {
        /// The length of the label in bytes.
        length: usize,
        /// The longest label in bytes.
        limit: usize,
    },
    /// The number of bytes for each inode is outside its limits.
    #[error("{bytes} bytes for each inode: ext4 can have {least} to {most}")]
    BytesPerInode {
        /// The bytes for each inode.
        bytes: u64,
        /// The fewest.
        least: u64,
        /// The most.
        most: u64,
    },
    /// The bytes are not an ext4 file system, or their superblock is damaged.
    #[error("no ext4 file system: {reason}")]
    NotExt4 {
        /// The field that is wrong.
        reason: String,
    },
    /// The file system cannot be grown. It is unchanged.
    #[error("the file system cannot be grown: {0}")]
    Growth(#[from] crate::GrowthRefusal),
    /// The journal cannot be replayed.
    #[error("the journal cannot be replayed")]
    Replay(#[source] crate::ReadError),
    /// The image cannot be read: a bad disk, or a short file.
    #[error("cannot read the image")]
    Read(#[source] io::Error),
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
            Self::Output { source, .. } => source.kind(),
            Self::Root(error) => error.kind(),
            Self::Unrepresentable { .. } | Self::TooLarge { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::LabelTooLong { .. } | Self::BytesPerInode { .. } => ErrorKind::Usage,
            Self::NotExt4 { .. } => ErrorKind::Integrity,
            Self::Replay(error) => error.kind(),
            Self::Growth(refusal) => refusal.kind(),
            Self::Read(source) => ErrorKind::of_io(source),
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
            Self::Write(source) => ErrorKind::of_io(source),
            Self::TooSmall { .. } | Self::Incomplete(_) => ErrorKind::Other,
        }
    }
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Error {
    /// Adds the path of the image to an error of writing it, or about its size.
    pub(crate) fn at(path: &Path) -> impl FnOnce(Self) -> Self {
        move |error| match error {
            Self::Write(source) => vmroot_output::Error::on("write", path)(source).into(),
            error @ (Self::TooSmall { .. } | Self::TooLarge { .. }) => {
                Self::Output { path: path.to_owned(), source: Box::new(error) }
            }
            error => error,
        }
    }

    /// Returns the error for a property of an inode that ext4 cannot hold.
    pub(crate) fn unrepresentable(fs: &ContainerFs, ino: InodeId, what: String) -> Self {
        let path = fs.walk().find(|entry| entry.ino == ino).map(|entry| entry.path).unwrap_or_default();
        Self::Unrepresentable { path: path.into(), what }
    }

    /// Converts the error of a failed copy of file contents.
    pub(crate) fn moving(fs: &ContainerFs) -> impl Fn(MoveError) -> Self {
        |error| match error {
            MoveError::Read { file, offset, source } => fs.unreadable(file, offset, source).into(),
            MoveError::Write(source) => Self::Write(source),
        }
    }
}
