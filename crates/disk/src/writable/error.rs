//! Errors of writable disks.

use std::path::{Path, PathBuf};

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
    /// A disk cannot be a copy of itself.
    #[error("{}: the copy is the disk itself", path.display())]
    Same {
        /// The disk.
        path: PathBuf,
    },
    /// The file has no ext4 file system.
    #[error("{}: no disk with an ext4 file system{}", path.display(), seems(*content))]
    OtherContent {
        /// The file.
        path: PathBuf,
        /// What it seems to be, as "a tar".
        content: Option<&'static str>,
    },
    /// The hook cancelled the copy.
    #[error("stopped before everything was written")]
    Cancelled,
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

fn seems(content: Option<&str>) -> String {
    content.map_or_else(String::new, |content| format!("; it seems to be {content}"))
}

impl Error {
    /// Adds the path of the disk to an error of its file system.
    pub(super) fn of(path: &Path) -> impl FnOnce(vmroot_ext4::Error) -> Self {
        move |source| match source {
            vmroot_ext4::Error::Cancelled => Self::Cancelled,
            source => Self::Ext4 { path: path.to_owned(), source: Box::new(source) },
        }
    }

    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. } => ErrorKind::Other,
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Same { .. } => ErrorKind::Usage,
            Self::OtherContent { .. } => ErrorKind::Integrity,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Ext4 { source, .. } => source.kind(),
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
        }
    }
}
