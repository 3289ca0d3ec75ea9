//! Errors from reading and writing a cache.

use std::io;
use std::path::PathBuf;

use vmroot_errors::ErrorKind;
use vmroot_model::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from reading or writing a cache. Its message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed: no space, no permission, or a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// This process may not write to the cache: it belongs to another user, or its file system is mounted read-only.
    #[error("{}: this cache is read-only for you", path.display())]
    ReadOnly {
        /// The directory of the cache.
        path: PathBuf,
    },
    /// This process may not read the cache.
    #[error("{}: you may not read this cache", path.display())]
    Unreadable {
        /// The directory of the cache.
        path: PathBuf,
    },
    /// The bytes do not have the expected digest. They were removed.
    #[error("{} should have digest {digest} but has {actual}", path.display())]
    DigestMismatch {
        /// The expected digest.
        digest: Digest,
        /// The digest of the received bytes.
        actual: Digest,
        /// The file that the bytes were written to.
        path: PathBuf,
    },
    /// More bytes were received than the descriptor announces. The rest was not written.
    #[error("{digest} should have {size} bytes but has more (writing {})", path.display())]
    TooLong {
        /// The digest of the blob.
        digest: Digest,
        /// The size in its descriptor, in bytes.
        size: u64,
        /// The file that the bytes were written to.
        path: PathBuf,
    },
    /// Fewer bytes were received than the descriptor announces. They are kept, and a later fetch resumes after them.
    #[error("{digest} should have {size} bytes but only {actual} came (writing {})", path.display())]
    TooShort {
        /// The digest of the blob.
        digest: Digest,
        /// The size in its descriptor, in bytes.
        size: u64,
        /// The number of received bytes.
        actual: u64,
        /// The file that the bytes were written to.
        path: PathBuf,
    },
    /// A complete blob of the cache has another size than the descriptor announces.
    #[error("{digest} has {actual} bytes but its descriptor says {size} ({})", path.display())]
    SizeMismatch {
        /// The digest of the blob.
        digest: Digest,
        /// The size in its descriptor, in bytes.
        size: u64,
        /// The size of its file in bytes.
        actual: u64,
        /// The blob's file.
        path: PathBuf,
    },
    /// The file of a lease is damaged, so the files that it keeps are unknown.
    #[error("lease {}: {reason}", path.display())]
    Lease {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// The caller cancelled the wait for a lock, or the reading of a file.
    #[error("cancelled at {}", path.display())]
    Cancelled {
        /// The lock file, or the file that was read.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::TooLong { .. }
            | Self::TooShort { .. }
            | Self::Lease { .. } => ErrorKind::Integrity,
            Self::Cancelled { .. } => ErrorKind::Cancelled,
            Self::ReadOnly { .. } | Self::Unreadable { .. } => ErrorKind::Other,
            Self::Io(error) => ErrorKind::of_io(&error.source),
        }
    }
}

impl Error {
    /// Returns whether the file system is out of space or quota.
    pub fn is_full_disk(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io(error) if matches!(error.source.kind(), StorageFull | QuotaExceeded))
    }
}
