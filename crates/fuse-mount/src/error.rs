//! Errors from mounting and unmounting a root with FUSE.

use std::io;
use std::path::PathBuf;

use vmroot_errors::ErrorKind;

use crate::Refusal;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from mounting, serving or unmounting a root with FUSE.
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
    /// `/dev/fuse` is missing, not accessible to this user, or has no kernel module.
    #[error("cannot use /dev/fuse")]
    Device(#[source] io::Error),
    /// The kernel rejects the mount.
    #[error("cannot mount on {path}", path = path.display())]
    Mount {
        /// The mountpoint.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The helper that mounts for users other than root is not installed.
    #[error("only root may mount without fusermount3, which is not installed")]
    NoHelper,
    /// `fusermount3` failed.
    #[error("cannot mount on {path}: {refusal}", path = path.display())]
    Helper {
        /// The mountpoint.
        path: PathBuf,
        /// The reason.
        refusal: Refusal,
        /// The text of `fusermount3`, for a log.
        message: String,
    },
    /// Serving requests failed.
    #[error("the mount on {path} has failed", path = path.display())]
    Session {
        /// The mountpoint.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The kernel or `fusermount3` cannot unmount the root.
    #[error("cannot unmount {path}", path = path.display())]
    Unmount {
        /// The mountpoint.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Files or working directories of the mount are in use.
    #[error("cannot unmount {path}: in use", path = path.display())]
    InUse {
        /// The mountpoint.
        path: PathBuf,
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
            Self::InUse { .. } => ErrorKind::InUse,
            _ => ErrorKind::Other,
        }
    }
}
