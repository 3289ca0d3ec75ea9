//! Errors from serving a disk.

use std::io;
use std::path::PathBuf;

use vmroot_errors::ErrorKind;

use crate::vhost_user::MAX_QUEUES;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from making or serving a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// EROFS cannot hold the root.
    #[error(transparent)]
    Erofs(#[from] vmroot_erofs::Error),
    /// The metadata cannot be made in memory, or a contents file cannot be opened again.
    #[error("cannot make the disk")]
    Device(#[source] io::Error),
    /// The hash tree cannot be made.
    #[error("cannot make the hash tree of the disk")]
    Verity(#[from] vmroot_verity::Error),
    /// The socket cannot be created.
    #[error(transparent)]
    Socket(#[from] vmroot_virtiofs::Error),
    /// The file cannot be mounted or served.
    #[error(transparent)]
    Mount(#[from] vmroot_fuse_mount::Error),
    /// A device cannot have this number of queues.
    #[error("a disk has 1 to {MAX_QUEUES} queues, not {0}")]
    Queues(usize),
    /// A file is not a boot trace of the disk.
    #[error("{path}: {reason}", path = path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// A boot trace cannot be read.
    #[error("{path}", path = path.display())]
    TraceFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Waiting for clients has failed.
    #[error("cannot serve the disk at {path}", path = path.display())]
    Serve {
        /// The socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Erofs(error) => error.kind(),
            Self::Socket(error) => error.kind(),
            Self::Verity(error) => error.kind(),
            Self::Mount(error) => error.kind(),
            Self::Queues(_) => ErrorKind::Usage,
            Self::Trace { .. } => ErrorKind::Other,
            Self::TraceFile { source, .. } => ErrorKind::of_named_file(source),
            Self::Device(source) | Self::Serve { source, .. } => ErrorKind::of_io(source),
        }
    }
}
