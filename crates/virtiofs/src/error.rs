//! Why a root is not served.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use vmroot_errors::ErrorKind;

use crate::options::MAX_QUEUES;
use crate::socket::MAX_PATH;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a root is not served, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No address of a socket holds that many bytes (unix(7)).
    #[error("{path}: a socket's path may have {MAX_PATH} bytes, this one has {length}", path = path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// Where the socket is to be there is something else, which is left alone.
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
    /// The socket cannot be made.
    #[error("{path}", path = path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has held the lock of the socket's directory for as long as is waited for it.
    #[error("{directory}: another process has held the lock of this directory for {} s", limit.as_secs_f64(), directory = directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The wait for a lock was ended.
    #[error("cancelled")]
    Cancelled,
    /// The number of queues is none that a device can have.
    #[error("a device has 1 to {MAX_QUEUES} request queues, not {0}")]
    Queues(usize),
    /// The device cannot be started, or the VMM and it do not understand each other.
    #[error("the device at {path} has failed: {reason}", path = path.display())]
    Device {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
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
