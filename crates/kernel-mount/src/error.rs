//! Errors from mounting and unmounting a root with the kernel's EROFS.

use std::io;
use std::path::{Path, PathBuf};

use vmroot_errors::ErrorKind;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from mounting or unmounting a root with the kernel's EROFS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mountpoint does not exist, is not a directory, or cannot be reached.
    #[error("{path}", path = path.display())]
    Mountpoint {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The kernel does not have the file system, or is older than the new mount calls (Linux 5.2).
    #[error("this kernel has no {0}")]
    NoFileSystem(&'static str),
    /// The process has no permission to mount.
    #[error("only root may mount {0}")]
    NotPermitted(&'static str),
    /// The kernel cannot mount EROFS from these files: it is older than Linux 6.12, or the files' file system does not
    /// support such mounts.
    #[error("this kernel does not mount EROFS from files of {}", .0.display())]
    NoFileBackedMounts(PathBuf),
    /// The kernel rejects the mount.
    #[error("cannot mount {form} on {path}", path = path.display())]
    Mount {
        /// The file system.
        form: &'static str,
        /// The mountpoint.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No loop device can be made of a disk.
    #[error("no loop device")]
    Loop(#[source] io::Error),
    /// The metadata cannot be written.
    #[error("cannot write metadata in {path}", path = path.display())]
    Scratch {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The EROFS metadata of the root cannot be made.
    #[error(transparent)]
    Image(#[from] vmroot_erofs::Error),
    /// The table of mounts cannot be read.
    #[error("cannot read the table of mounts")]
    Table(#[source] io::Error),
    /// The kernel cannot unmount the root.
    #[error("cannot unmount {path}", path = path.display())]
    Unmount {
        /// The mountpoint.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another file system is mounted over the mountpoint, or the mount was moved.
    #[error("cannot unmount {path}: another file system is mounted there", path = path.display())]
    Covered {
        /// The mountpoint.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Mountpoint { source, .. } => ErrorKind::of_named_file(source),
            Self::Image(error) => error.kind(),
            Self::Scratch { source, .. } => ErrorKind::of_io(source),
            _ => ErrorKind::Other,
        }
    }
}

impl Error {
    /// Returns whether another kind of mount, such as FUSE, may succeed.
    pub fn allows_fallback(&self) -> bool {
        !matches!(self, Self::Mountpoint { .. })
    }

    pub(crate) fn mountpoint<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Mountpoint { path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn scratch<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Scratch { path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn mount<E: Into<io::Error>>(form: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Mount { form, path: path.to_owned(), source: source.into() }
    }
}
