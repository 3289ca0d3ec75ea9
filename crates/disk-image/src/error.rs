//! Why an image cannot be written.

use std::io;
use std::path::PathBuf;

use bstr::BString;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something in the root is beyond what the form can hold.
    #[error("{path:?}: {form} cannot hold {what}")]
    Unrepresentable {
        /// Where it is in the root.
        path: BString,
        /// The form: EROFS, ext4.
        form: &'static str,
        /// What it is, and the limit.
        what: String,
    },
    /// The whole root is beyond what the form can hold.
    #[error("the root is too large for {form}: {what}")]
    TooLarge {
        /// The form: EROFS, ext4.
        form: &'static str,
        /// What there is too much of, and the limit.
        what: String,
    },
    /// The form cannot hold all of the root, and nothing was to be left out.
    #[error(transparent)]
    Incomplete(#[from] vmroot_export::Incomplete),
    /// The size that was asked for has not room for everything.
    #[error("{size} bytes are too few: {needed} are needed")]
    TooSmall {
        /// What was asked for, in bytes.
        size: u64,
        /// The smallest size that does, in bytes.
        needed: u64,
    },
    /// A path that the list of an image's parts cannot have.
    #[error("{}: a path with {what} cannot be listed", path.display())]
    Unlistable {
        /// The path.
        path: PathBuf,
        /// What is in it.
        what: &'static str,
    },
    /// A path that is longer than the readers of a list of files take.
    #[error("{}: a path of more than {limit} bytes cannot be listed", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The most bytes that it may have.
        limit: usize,
    },
    /// A program that makes the form is not installed.
    #[error("the program {program} is missing: install {package}")]
    MissingProgram {
        /// Its name.
        program: &'static str,
        /// The package that has it, and the version from which on it has.
        package: &'static str,
    },
    /// A program that makes the form failed.
    #[error("{program} failed ({status}): {message}")]
    Program {
        /// Its name.
        program: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        message: String,
    },
    /// A program made something else than it was asked for.
    #[error("{program} wrote an image with {what}")]
    Unexpected {
        /// Its name.
        program: &'static str,
        /// What is not as expected.
        what: &'static str,
    },
    /// What goes to a program that makes the form cannot be read, or written to it.
    #[error(transparent)]
    Stream(#[from] vmroot_export::Error),
    /// The image cannot be written: no space, a bad disk.
    #[error("cannot write the image: {0}")]
    Write(#[source] io::Error),
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// The hook asked to stop. What was written before is left.
    #[error("stopped before everything was written")]
    Cancelled,
}
