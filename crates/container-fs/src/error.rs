//! What a question about a root can be answered with instead.

use std::io;
use std::path::PathBuf;

use bstr::BString;
use rustix::io::Errno;
use vmroot_errors::ErrorKind;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What a question about a root can be answered with instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such name.
    #[error("{0:?}: no such file or directory")]
    NotFound(BString),
    /// A name below something that is no directory, or a question that only a directory can answer.
    #[error("{0:?}: not a directory")]
    NotADirectory(BString),
    /// A question that a directory cannot answer.
    #[error("{0:?}: is a directory")]
    IsADirectory(BString),
    /// A path that leads through more than 40 symbolic links.
    #[error("{0:?}: too many levels of symbolic links")]
    TooManyLinks(BString),
    /// Something other than a symbolic link was to be read as one.
    #[error("{0:?}: not a symbolic link")]
    NotALink(BString),
    /// Neither in the image's `/etc/passwd` nor a number.
    #[error("user {0:?} is not in the image's /etc/passwd")]
    NoSuchUser(String),
    /// Neither in the image's `/etc/group` nor a number.
    #[error("group {0:?} is not in the image's /etc/group")]
    NoSuchGroup(String),
    /// A file of users or groups that is no regular file, or larger than any is.
    #[error("the image's {path} {reason}")]
    InvalidDatabase {
        /// `/etc/passwd` or `/etc/group`.
        path: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// `/etc/passwd` or `/etc/group` is longer than is read.
    #[error("the image's {path} has {size} bytes, {limit} at most are read")]
    DatabaseTooLarge {
        /// The path.
        path: &'static str,
        /// Its length.
        size: u64,
        /// The most bytes that it may have.
        limit: u64,
    },
    /// A contents file that is missing, of a wrong length, or cannot be read.
    #[error("{path}", path = path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The index is damaged, or extra layers do not merge with it.
    #[error(transparent)]
    Index(#[from] vmroot_layer_index::Error),
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NotADirectory(_) | Self::NoSuchUser(_) | Self::NoSuchGroup(_) => {
                ErrorKind::NotFound
            }
            Self::TooManyLinks(_) | Self::DatabaseTooLarge { .. } => ErrorKind::Limit,
            Self::Contents { .. } | Self::Index(_) => ErrorKind::Integrity,
            _ => ErrorKind::Other,
        }
    }
}

impl Error {
    /// The number that a system call would fail with.
    pub fn errno(&self) -> Errno {
        match self {
            Self::NotFound(_) => Errno::NOENT,
            Self::NotADirectory(_) => Errno::NOTDIR,
            Self::IsADirectory(_) => Errno::ISDIR,
            Self::TooManyLinks(_) => Errno::LOOP,
            Self::NotALink(_) | Self::NoSuchUser(_) | Self::NoSuchGroup(_) => Errno::INVAL,
            Self::InvalidDatabase { .. } | Self::DatabaseTooLarge { .. } | Self::Contents { .. } | Self::Index(_) => {
                Errno::IO
            }
        }
    }
}
