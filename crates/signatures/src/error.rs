//! Errors from names of images that a policy cannot have.

use std::path::PathBuf;

use vmroot_errors::ErrorKind;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A policy has no name for an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name of an image has neither a tag nor a digest, which a lookup in a policy needs.
    #[error("{reference} has neither a tag nor a digest")]
    NameOnly {
        /// The name.
        reference: String,
    },
    /// A path is not one that a policy can name.
    #[error("{}: a policy needs an absolute path without symbolic links, other than /", path.display())]
    PolicyPath {
        /// The path.
        path: PathBuf,
    },
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }
}
