//! Errors from test layers and from the programs that tests run.

use std::io;
use std::path::{Path, PathBuf};

use crate::layer::Entry;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from a test layer or from a tool that checks one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid entry.
    #[error("entry {index}, {}: {reason}", entry.name.escape_ascii())]
    Entry {
        /// The index of the entry in its layer, from 0.
        index: usize,
        /// The entry.
        entry: Box<Entry>,
        /// The reason.
        reason: Reason,
    },
    /// A system call failed.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// The action that failed, as in "cannot STEP PATH".
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another program failed.
    #[error("{program}: {message}")]
    Program {
        /// The program's name.
        program: &'static str,
        /// Its message.
        message: String,
    },
}

impl Error {
    /// Returns a closure for `map_err` that adds the step and the path.
    pub(crate) fn io<E: Into<io::Error>>(step: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { step, path, source: source.into() }
    }
}

/// The reason that an entry is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `..` in a name or in the name of a hard link's target.
    #[error("has a .. component")]
    DotDot,
    /// A component of more than 255 bytes, the limit of Linux file systems.
    #[error("has a component of more than 255 bytes")]
    NameTooLong,
    /// An entry for the root that is not a directory.
    #[error("the root can only be a directory")]
    RootNotADirectory,
    /// `.wh.` with no name after it.
    #[error("a whiteout without a name")]
    BareWhiteout,
    /// An entry below a name that begins with `.wh.`.
    #[error("lies below a whiteout")]
    BelowWhiteout,
    /// A parent that the same layer contains as something other than a directory.
    #[error("its parent is not a directory in this layer")]
    ParentNotADirectory,
    /// More than 40 symbolic links on the way to the parent.
    #[error("too many symbolic links on the way")]
    TooManyLinks,
    /// A hard link to a directory.
    #[error("hard link to the directory {}", .0.escape_ascii())]
    LinkToDirectory(Vec<u8>),
    /// A hard link to a path that does not exist in the layers so far.
    #[error("hard link to {}, which does not exist", .0.escape_ascii())]
    LinkTargetMissing(Vec<u8>),
}

/// Formats an error with its causes, as the programs print it.
pub trait FullMessage {
    /// Returns the messages of the error and its causes, outermost first, with `: ` between them.
    fn full_message(&self) -> String;
}

impl<E: std::error::Error + 'static> FullMessage for E {
    fn full_message(&self) -> String {
        vmroot_errors::with_causes(self)
    }
}
