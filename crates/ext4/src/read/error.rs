//! Errors from reading an ext4 file system.

use std::io;

use bstr::BString;
use vmroot_errors::{ErrorKind, Limit};

/// The result of the functions that read.
pub type ReadResult<T> = std::result::Result<T, ReadError>;

/// An error from reading an ext4 file system, or from replaying its journal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no superblock of ext2, ext3 or ext4.
    #[error("it is not an ext4 file system")]
    NotExt4,
    /// The file system, or an inode of it, has a feature that this reader does not support.
    #[error("{0}")]
    Unsupported(String),
    /// The journal has transactions that are not in their places yet.
    #[error("the journal of the file system was not replayed")]
    NeedsReplay,
    /// The file system is damaged.
    #[error("the file system is damaged: {0}")]
    Damaged(String),
    /// The file system exceeds a limit of this reader.
    #[error("{what} (limit {limit})")]
    Limit {
        /// The quantity that is too large.
        what: String,
        /// The name of the limit in `docs/limits.md`.
        limit: &'static str,
    },
    /// The disk cannot be read.
    #[error("cannot read the disk at offset {offset}")]
    Io {
        /// The offset of the read in bytes.
        offset: u64,
        /// The error of the system.
        source: io::Error,
    },
    /// The disk cannot be written.
    #[error("cannot write the disk at offset {offset}")]
    Write {
        /// The offset of the write in bytes.
        offset: u64,
        /// The error of the system.
        source: io::Error,
    },
    /// No entry has this path.
    #[error("{0:?}: no such file on the disk")]
    NotFound(BString),
    /// An entry of this path has another kind than expected.
    #[error("{path:?}: {what}")]
    WrongKind {
        /// The path on the disk.
        path: BString,
        /// What the entry is or is not.
        what: &'static str,
    },
}

impl ReadError {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged(_) => ErrorKind::Integrity,
            Self::Limit { .. } => ErrorKind::Limit,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Io { source, .. } | Self::Write { source, .. } => ErrorKind::of_io(source),
            Self::NotExt4 | Self::Unsupported(_) | Self::NeedsReplay | Self::WrongKind { .. } => ErrorKind::Other,
        }
    }

    /// Returns the limit that the file system exceeds.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Limit { limit, .. } => Some(Limit::Constant(limit)),
            _ => None,
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}
