//! Why a root cannot be written out.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use vmroot_errors::{ErrorKind, Limit};
use vmroot_model::Digest;
use vmroot_output::Incomplete;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a root cannot be written out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory to export to has entries already. Nothing was written.
    #[error("{}: not empty; a root is exported to a new or an empty directory", .0.display())]
    TargetNotEmpty(PathBuf),
    /// The system refused a step: no space, no permission, a bad disk. What was written before is left.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// The writer that a tar or a cpio goes to failed.
    #[error("cannot write the archive")]
    Stream(#[source] io::Error),
    /// A compression that is not written, or a level that it does not have.
    #[error(transparent)]
    Compression(#[from] vmroot_compress::Error),
    /// The form cannot hold all of the root, and nothing was to be left out.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// An entry that a cpio cannot hold. What was written before is of no use.
    #[error("{}: {actual} {unit}; a cpio holds at most {limit}", path.display())]
    BeyondCpio {
        /// The entry.
        path: PathBuf,
        /// The quantity that is too large.
        unit: &'static str,
        /// How much there is.
        actual: u64,
        /// How much there may be.
        limit: u64,
    },
    /// An index in a prebaked directory that has the name of another layer.
    #[error("{}: is the index of {actual}", path.display())]
    WrongLayer {
        /// The index.
        path: PathBuf,
        /// The layer that it says it is of.
        actual: Digest,
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
    /// The image that a program made cannot be written or read.
    #[error("cannot write the image")]
    Image(#[source] io::Error),
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// The hook asked to stop. What was written before is left.
    #[error("stopped before everything was written")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Root(error) => error.kind(),
            Self::Compression(error) => error.kind(),
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
            Self::Stream(source) | Self::Image(source) => ErrorKind::of_io(source),
            Self::BeyondCpio { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            _ => ErrorKind::Other,
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Compression(error) => error.limit(),
            _ => None,
        }
    }
}

/// The error of an export that its hook told to stop.
pub fn check_flow(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}
