//! Errors from querying a root.

use std::io;
use std::path::{Path, PathBuf};

use bstr::BString;
use rustix::io::Errno;
use vmroot_errors::ErrorKind;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from querying a root.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path does not exist.
    #[error("{0:?}: no such file or directory")]
    NotFound(BString),
    /// A path below a file that is not a directory, or a query of a directory that names another kind of file.
    #[error("{path}not a directory", path = prefix(.0))]
    NotADirectory(BString),
    /// A query of a file that names a directory.
    #[error("{path}is a directory", path = prefix(.0))]
    IsADirectory(BString),
    /// A path that leads through more than 40 symbolic links.
    #[error("{0:?}: too many levels of symbolic links")]
    TooManyLinks(BString),
    /// A device, a named pipe or a socket where a regular file is needed.
    #[error("{0:?}: not a regular file")]
    NotAFile(BString),
    /// A file that is too large to be read at once. [`ContainerFs::open`](crate::ContainerFs::open) reads it in parts.
    #[error("{path:?}: has {size} bytes; {limit} is the limit")]
    FileTooLarge {
        /// The path.
        path: BString,
        /// The length of the file in bytes.
        size: u64,
        /// The largest allowed length in bytes.
        limit: u64,
    },
    /// A query of a symbolic link that names another kind of file.
    #[error("{path}not a symbolic link", path = prefix(.0))]
    NotALink(BString),
    /// A user that is neither in the image's `/etc/passwd` nor a number.
    #[error("user {0:?} is not in the image's /etc/passwd")]
    NoSuchUser(String),
    /// A group that is neither in the image's `/etc/group` nor a number.
    #[error("group {0:?} is not in the image's /etc/group")]
    NoSuchGroup(String),
    /// The image's `/etc/passwd` or `/etc/group` is not a regular file, or cannot be read.
    #[error("the image's {path} {reason}")]
    InvalidDatabase {
        /// `/etc/passwd` or `/etc/group`.
        path: &'static str,
        /// The reason.
        reason: String,
    },
    /// The image's `/etc/passwd` or `/etc/group` exceeds the size limit.
    #[error("the image's {path} has {size} bytes; {limit} is the limit")]
    DatabaseTooLarge {
        /// The path.
        path: &'static str,
        /// Its length in bytes.
        size: u64,
        /// The largest allowed length in bytes.
        limit: u64,
    },
    /// A contents file that is missing, has a wrong length, or cannot be read.
    #[error("{path}{of}", path = path.display(), of = of_shared(shared.as_deref()))]
    Contents {
        /// The file.
        path: PathBuf,
        /// The directory of the shared cache that the file is in; `None` for a file of another place.
        shared: Option<PathBuf>,
        /// The cause.
        source: io::Error,
    },
    /// The bytes of a file that cannot be read.
    #[error("cannot read {path:?} of the image")]
    File {
        /// The path of the file in the root.
        path: BString,
        /// [`Error::Contents`], which names the contents file.
        source: Box<Error>,
    },
    /// The index is damaged, or extra layers do not merge with it.
    #[error(transparent)]
    Index(#[from] vmroot_layer_index::Error),
}

/// Returns the path before a message. It is empty if the caller named an inode.
fn prefix(path: &BString) -> String {
    if path.is_empty() { String::new() } else { format!("{path:?}: ") }
}

/// Returns the shared cache that a file is in, after its path.
fn of_shared(shared: Option<&Path>) -> String {
    shared.map_or_else(String::new, |directory| format!(" (of the shared cache {})", directory.display()))
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NotADirectory(_) | Self::NoSuchUser(_) | Self::NoSuchGroup(_) => {
                ErrorKind::NotFound
            }
            Self::DatabaseTooLarge { .. } | Self::FileTooLarge { .. } => ErrorKind::Limit,
            Self::Contents { .. } | Self::Index(_) => ErrorKind::Integrity,
            Self::File { source, .. } => source.kind(),
            _ => ErrorKind::Other,
        }
    }
}

impl Error {
    /// Adds the path of the file that was read.
    pub(crate) fn of_file(self, path: BString) -> Self {
        Self::File { path, source: Box::new(self) }
    }

    /// Returns the error number that a file system reports for this error.
    pub fn errno(&self) -> Errno {
        match self {
            Self::NotFound(_) => Errno::NOENT,
            Self::NotADirectory(_) => Errno::NOTDIR,
            Self::IsADirectory(_) => Errno::ISDIR,
            Self::TooManyLinks(_) => Errno::LOOP,
            Self::FileTooLarge { .. } => Errno::FBIG,
            Self::File { source, .. } => source.errno(),
            Self::NotAFile(_) | Self::NotALink(_) | Self::NoSuchUser(_) | Self::NoSuchGroup(_) => Errno::INVAL,
            Self::InvalidDatabase { .. } | Self::DatabaseTooLarge { .. } | Self::Contents { .. } | Self::Index(_) => {
                Errno::IO
            }
        }
    }
}

/// The error has the kind of the system's error, and contains the [`Error`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::Error::from(error.errno()).kind(), error)
    }
}
