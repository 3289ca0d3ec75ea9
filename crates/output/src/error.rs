//! A failed step on a file.

use std::io;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// The system refused a step on a file: no space, no permission, a bad disk.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct Error {
    /// The step, as in "cannot … PATH".
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}

impl Error {
    /// Names the step and the path of a failed call, for `map_err`. An error of an [`OutputFile`](crate::OutputFile)
    /// that is used as a writer has both already, and is returned.
    pub fn on<E: Into<io::Error>>(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |source| {
            let named = source.into().downcast();
            named.unwrap_or_else(|source| Self { action, path: path.as_ref().to_owned(), source })
        }
    }
}
