//! Errors from exporting a root.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use vmroot_errors::{ErrorKind, Limit};
use vmroot_model::Digest;
use vmroot_output::{Cancelled, Incomplete};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error from exporting a root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The target directory is not empty. No output was written.
    #[error("{}: not empty", .0.display())]
    TargetNotEmpty(PathBuf),
    /// A file or another entry that is not a directory was to be written where a directory is.
    #[error("{}: is a directory, and a file does not replace a directory", .0.display())]
    FileOntoDirectory(PathBuf),
    /// A directory was to be written where a file, a symbolic link or another entry that is not a directory is.
    #[error("{}: is not a directory, and a directory does not replace it", .0.display())]
    DirectoryOntoFile(PathBuf),
    /// A device or a pipe was to be replaced by a copy.
    #[error("{}: is a device, a pipe or a socket, which a copy does not replace", .0.display())]
    OntoDevice(PathBuf),
    /// A system call failed: no space, no permission, or a bad disk.
    #[error(transparent)]
    Io(#[from] vmroot_output::Error),
    /// The writer of a tar or cpio archive failed. An error of an [`OutputFile`](vmroot_output::OutputFile) is
    /// [`Self::Io`] instead, which names the file.
    #[error("cannot write the archive")]
    Stream(#[source] io::Error),
    /// A compression that vmroot cannot write, or a level that the compression does not have.
    #[error(transparent)]
    Compression(#[from] vmroot_compress::Error),
    /// The format cannot hold some entries, and the options forbid omissions.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// An entry that a cpio archive cannot hold. The bytes written so far are unusable.
    #[error("{}: {actual} {unit}; a cpio holds at most {limit}", path.display())]
    BeyondCpio {
        /// The entry.
        path: PathBuf,
        /// The quantity that is too large.
        unit: &'static str,
        /// The actual quantity.
        actual: u64,
        /// The largest quantity that a cpio archive can hold.
        limit: u64,
    },
    /// An index in a prebaked directory whose diff id differs from its file name.
    #[error("{}: is the index of {actual}", path.display())]
    WrongLayer {
        /// The index.
        path: PathBuf,
        /// The diff id in the index.
        actual: Digest,
    },
    /// The program that writes the format is not installed.
    #[error("the program {program} is missing")]
    MissingProgram {
        /// The program's name.
        program: &'static str,
        /// The package that contains it, and the first suitable version.
        package: &'static str,
    },
    /// The program that writes the format failed.
    #[error("{program} failed ({status})")]
    Program {
        /// The program's name.
        program: &'static str,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// The end of its standard error.
        message: String,
    },
    /// The program's output is not as requested.
    #[error("{program} wrote an image with {what}")]
    Unexpected {
        /// The program's name.
        program: &'static str,
        /// The unexpected property.
        what: &'static str,
    },
    /// The program that writes the format failed, or its output is not as requested, in an export to a path.
    #[error("cannot write {}", path.display())]
    Output {
        /// The path of the export.
        path: PathBuf,
        /// [`Error::Program`] or [`Error::Unexpected`].
        source: Box<Error>,
    },
    /// The program's output cannot be written or read. An export to a path returns [`Self::Io`] instead.
    #[error("cannot write the image")]
    Image(#[source] io::Error),
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// The progress hook cancelled the export.
    #[error("stopped before everything was written")]
    Cancelled,
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Root(error) => error.kind(),
            Self::Output { source, .. } => source.kind(),
            Self::Compression(error) => error.kind(),
            Self::Io(error) => ErrorKind::of_named_file(&error.source),
            Self::Stream(source) | Self::Image(source) => ErrorKind::of_io(source),
            Self::BeyondCpio { .. } => ErrorKind::Limit,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::WrongLayer { .. } => ErrorKind::Integrity,
            Self::Program { .. } | Self::Unexpected { .. } => ErrorKind::ProgramFailed,
            Self::TargetNotEmpty(_)
            | Self::FileOntoDirectory(_)
            | Self::DirectoryOntoFile(_)
            | Self::OntoDevice(_)
            | Self::Incomplete(_)
            | Self::MissingProgram { .. } => ErrorKind::Other,
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

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl Error {
    /// Converts the error of an archive's writer.
    pub(crate) fn of_writer(error: io::Error) -> Self {
        error.downcast().map_or_else(Self::Stream, Self::Io)
    }

    /// Adds the path of an export to an error of writing it.
    pub(crate) fn at(path: &Path) -> impl FnOnce(Self) -> Self {
        move |error| match error {
            Self::Image(source) => vmroot_output::Error::on("write", path)(source).into(),
            error @ (Self::Program { .. } | Self::Unexpected { .. }) => {
                Self::Output { path: path.to_owned(), source: Box::new(error) }
            }
            error => error,
        }
    }
}

/// Returns [`Error::Cancelled`] if the progress hook returned `Break`.
pub(crate) fn check_flow(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}
