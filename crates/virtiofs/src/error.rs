//! Errors from serving a root over virtio-fs.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use vmroot_errors::ErrorKind;

use crate::options::MAX_QUEUES;
use crate::socket::MAX_PATH;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from starting or running a virtio-fs device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path is longer than a socket's address can hold (unix(7)).
    #[error("{path}: a socket's path may have {MAX_PATH} bytes, this one has {length}", path = path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// A file that is not a socket exists at the socket's path. It is not changed.
    #[error("{path}: exists and is not a socket", path = path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another process listens at the socket.
    #[error("{path}: another process listens there", path = path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be created.
    #[error("{path}", path = path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process held the lock of the socket's directory for the whole time limit.
    #[error("{directory}: another process has held the lock of this directory for {} s", limit.as_secs_f64(), directory = directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The time limit.
        limit: Duration,
    },
    /// The caller cancelled the wait for a lock.
    #[error("cancelled")]
    Cancelled,
    /// A device cannot have this number of request queues.
    #[error("a device has 1 to {MAX_QUEUES} request queues, not {0}")]
    Queues(usize),
    /// The device cannot be started, or the connection with the VMM failed.
    #[error("the device at {path} has failed: {reason}", path = path.display())]
    Device {
        /// The socket.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::PathTooLong { .. } | Self::Locked { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Queues(_) => ErrorKind::Usage,
            Self::InUse { .. } => ErrorKind::InUse,
            Self::Socket { source, .. } => ErrorKind::of_named_file(source),
            _ => ErrorKind::Other,
        }
    }
}
