//! Errors of writable disks.

use std::path::PathBuf;

use vmroot_errors::ErrorKind;

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a writable disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file exists, and must not be replaced.
    #[error("{}: the file exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another process has locked the disk.
    #[error("{}: another process uses the disk", path.display())]
    InUse {
        /// The disk.
        path: PathBuf,
    },
    /// The file system cannot be made, read or grown.
    #[error("{}", path.display())]
    Ext4 {
        /// The disk.
        path: PathBuf,
        /// The reason.
        source: Box<vmroot_ext4::Error>,
    },
    /// A system call failed: no space, no permission, or a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. } | Self::InUse { .. } => ErrorKind::Other,
            Self::Ext4 { source, .. } => source.kind(),
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
        }
    }
}
