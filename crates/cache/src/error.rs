//! What can go wrong in a cache.

use std::io;
use std::path::PathBuf;

use vmroot_errors::ErrorKind;
use vmroot_model::Digest;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Something that went wrong in a cache; each says at which file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something: no space, no permission, a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// The bytes are not those that the digest names. They were removed.
    #[error("{} should have digest {digest} but has {actual}", path.display())]
    DigestMismatch {
        /// The digest that was asked for.
        digest: Digest,
        /// The digest of the bytes that came.
        actual: Digest,
        /// The file the bytes were written to.
        path: PathBuf,
    },
    /// More bytes came than the descriptor says. They were not written.
    #[error("{digest} should have {size} bytes but has more (writing {})", path.display())]
    TooLong {
        /// The digest of the blob.
        digest: Digest,
        /// Its size in bytes, as its descriptor says.
        size: u64,
        /// The file the bytes were written to.
        path: PathBuf,
    },
    /// Fewer bytes came than the descriptor says. What came is kept, to be resumed.
    #[error("{digest} should have {size} bytes but only {actual} came (writing {})", path.display())]
    TooShort {
        /// The digest of the blob.
        digest: Digest,
        /// Its size in bytes, as its descriptor says.
        size: u64,
        /// How many bytes came.
        actual: u64,
        /// The file the bytes were written to.
        path: PathBuf,
    },
    /// A blob that is here, and whole, has another size than the descriptor that asks for it says.
    #[error("{digest} has {actual} bytes but its descriptor says {size} ({})", path.display())]
    SizeMismatch {
        /// The digest of the blob.
        digest: Digest,
        /// Its size in bytes, as its descriptor says.
        size: u64,
        /// Its real size in bytes.
        actual: u64,
        /// The blob's file.
        path: PathBuf,
    },
    /// The caller gave up waiting for a lock that another holds.
    #[error("gave up waiting for the lock {}", path.display())]
    GaveUp {
        /// The lock file.
        path: PathBuf,
    },
    /// The caller stopped the reading of a file.
    #[error("stopped reading {}", path.display())]
    Stopped {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::TooLong { .. } | Self::TooShort { .. } => {
                ErrorKind::Integrity
            }
            Self::GaveUp { .. } | Self::Stopped { .. } => ErrorKind::Cancelled,
            Self::Io(error) => ErrorKind::of_io(&error.source),
        }
    }
}

impl Error {
    /// Whether the file system ran out of space or quota.
    pub fn is_full_disk(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io(error) if matches!(error.source.kind(), StorageFull | QuotaExceeded))
    }
}
