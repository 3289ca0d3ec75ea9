//! Errors from configuration files.

use std::io;
use std::path::{Path, PathBuf};

use vmroot_errors::ErrorKind;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from a configuration file, or from a name that it does not allow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The action that failed, as in "cannot ACTION PATH".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is not TOML, or a key has a value of the wrong type.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The reason, with the position in the file.
        reason: String,
    },
    /// A file has a value that is not allowed.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A name is not a reference.
    #[error(transparent)]
    Name(#[from] vmroot_model::Error),
    /// A location of registries.conf does not give a reference.
    #[error("{}: the location {location:?} makes {rewritten:?} of {reference}: {reason}", file.display())]
    Rewrite {
        /// The file with the location.
        file: PathBuf,
        /// The location.
        location: String,
        /// The reference before rewriting.
        reference: String,
        /// The text after rewriting.
        rewritten: String,
        /// The reason for which it is not accepted.
        reason: String,
    },
    /// A short name has several meanings, and the configuration requires that the user chooses one.
    #[error(
        "the short name {name:?} may be {}; short-name-mode is enforcing, so name the registry too",
        candidates.join(" or ")
    )]
    Ambiguous {
        /// The short name.
        name: String,
        /// The references that it may stand for.
        candidates: Vec<String>,
    },
    /// A key for credentials is not a registry or a repository.
    #[error("{key:?} is not a registry or repository: {reason}")]
    Key {
        /// The key.
        key: String,
        /// The reason.
        reason: String,
    },
    /// There is no credential to remove.
    #[error("not logged into {key}")]
    NotLoggedIn {
        /// The registry or repository.
        key: String,
    },
    /// Options that exclude each other.
    #[error("{0}")]
    Options(String),
    /// Credential files or helpers failed.
    #[error(transparent)]
    Credentials(#[from] vmroot_registry::Error),
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(error) => error.kind_of_argument(),
            Self::NotLoggedIn { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } | Self::Key { .. } | Self::Options(_) => ErrorKind::Usage,
            Self::Credentials(error) => error.kind(),
            Self::Io { source, .. } => ErrorKind::of_named_file(source),
            _ => ErrorKind::Other,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), reason: reason.into() }
    }
}

impl From<vmroot_output::Error> for Error {
    fn from(error: vmroot_output::Error) -> Self {
        Self::Io { action: error.action, path: error.path, source: error.source }
    }
}
