//! Why a root is not mounted, or not unmounted.

use std::io;
use std::path::PathBuf;

use vmroot_errors::ErrorKind;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a root is not mounted, or not unmounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no directory to mount on, or it cannot be reached.
    #[error("{path}", path = path.display())]
    Mountpoint {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// `/dev/fuse` is missing, closed to this user, or without a kernel module behind it.
    #[error("cannot use /dev/fuse")]
    Device(#[source] io::Error),
    /// The kernel refuses the mount.
    #[error("cannot mount on {path}", path = path.display())]
    Mount {
        /// The mountpoint.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The helper that mounts for users other than root is not installed.
    #[error("only root may mount without fusermount3, which is not installed (package fuse3)")]
    NoHelper,
    /// The helper refuses.
    #[error("cannot mount on {path}: {message}", path = path.display())]
    Helper {
        /// The mountpoint.
        path: PathBuf,
        /// What it says.
        message: String,
    },
    /// Requests cannot be served, or no longer.
    #[error("the mount on {path} has failed", path = path.display())]
    Session {
        /// The mountpoint.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The kernel or the helper refuses to unmount.
    #[error("cannot unmount {path}", path = path.display())]
    Unmount {
        /// The mountpoint.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Something else has been mounted over the mountpoint, or the mount was moved.
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
            _ => ErrorKind::Other,
        }
    }
}
