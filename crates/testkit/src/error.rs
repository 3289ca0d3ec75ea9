//! What can be wrong with a layer, or with the machine a test runs on.

use std::io;
use std::path::{Path, PathBuf};

use crate::layer::Entry;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A layer that has no meaning, or a step of a judge that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry with no meaning.
    #[error("entry {index}, {}: {reason}", entry.name.escape_ascii())]
    Entry {
        /// Place of the entry in its layer, from 0.
        index: usize,
        /// The entry.
        entry: Box<Entry>,
        /// What is wrong with it.
        reason: Reason,
    },
    /// A step on the disk that the machine refused.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was to be done.
        step: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another program that did not do its part.
    #[error("{program}: {message}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said.
        message: String,
    },
}

impl Error {
    /// Names the step and the file of a failed call, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(step: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { step, path, source: source.into() }
    }
}

/// Why an entry has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `..` in a name or in the name of a hard link's target.
    #[error("has a .. component")]
    DotDot,
    /// A component of more than 255 bytes, which no Linux file system holds.
    #[error("has a component of more than 255 bytes")]
    NameTooLong,
    /// The name of the root with something else than a directory.
    #[error("the root can only be a directory")]
    RootNotADirectory,
    /// `.wh.` with no name after it.
    #[error("a whiteout without a name")]
    BareWhiteout,
    /// Something below a name that begins with `.wh.`.
    #[error("lies below a whiteout")]
    BelowWhiteout,
    /// A parent that the same layer made, and not as a directory.
    #[error("its parent is not a directory in this layer")]
    ParentNotADirectory,
    /// More than 40 symbolic links on the way to the parent.
    #[error("too many symbolic links on the way")]
    TooManyLinks,
    /// A hard link to a directory.
    #[error("hard link to the directory {}", .0.escape_ascii())]
    LinkToDirectory(Vec<u8>),
    /// A hard link to what is in no layer so far.
    #[error("hard link to {}, which does not exist", .0.escape_ascii())]
    LinkTargetMissing(Vec<u8>),
}

/// The message of any error with those of its causes, as a program prints them.
pub trait FullMessage {
    /// Returns the messages of the error and its causes, outermost first, with `: ` between them.
    fn full_message(&self) -> String;
}

impl<E: std::error::Error + 'static> FullMessage for E {
    fn full_message(&self) -> String {
        vmroot_errors::with_causes(self)
    }
}
