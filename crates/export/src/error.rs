//! Why a root cannot be written out.

use std::io;
use std::path::{Path, PathBuf};

use vmroot_container_fs::ContainerFs;
use vmroot_model::Digest;

use crate::Incomplete;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a root cannot be written out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory to export to has entries already. Nothing was written.
    #[error("{}: not empty; a root is exported to a new or an empty directory", .0.display())]
    TargetNotEmpty(PathBuf),
    /// The system refused a step: no space, no permission, a bad disk. What was written before is left.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as in "cannot … PATH".
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The writer that a tar or a cpio goes to failed.
    #[error("cannot write the archive: {0}")]
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
        /// What there is too much of.
        unit: &'static str,
        /// How much there is.
        actual: u64,
        /// How much there may be.
        limit: u64,
    },
    /// An entry whose name means something else in a layer.
    #[error("{}: a name that begins with .wh. means a deletion in a layer", .0.display())]
    ReservedName(PathBuf),
    /// An entry of an upper directory that overlayfs has kept only a part of there.
    #[error("{}: {what}; changes made on an overlay mounted with {advice} can be exported", path.display())]
    Unportable {
        /// The entry.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// The mount option that prevents it.
        advice: &'static str,
    },
    /// An upper directory of an overlay, and a process that does not see its marks. Nothing was written.
    #[error(
        "{}: the overlay marks directories that hide what is below them by trusted.overlay.*, which only root sees \
         (CAP_SYS_ADMIN in the first user namespace): without these marks, deleted files would come back. Export it as \
         root; an overlay that was mounted with userxattr has marks that everybody sees, which --userxattr vouches for",
        .0.display()
    )]
    UnseenMarks(PathBuf),
    /// An index in a prebaked directory that has the name of another layer.
    #[error("{}: is the index of {actual}", path.display())]
    WrongLayer {
        /// The index.
        path: PathBuf,
        /// The layer that it says it is of.
        actual: Digest,
    },
    /// The root cannot be read.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// The hook asked to stop. What was written before is left.
    #[error("stopped before everything was written")]
    Cancelled,
}

impl Error {
    /// A contents file that the system cannot read.
    pub(crate) fn unreadable(fs: &ContainerFs, file: u32, source: io::Error) -> Self {
        let path = fs.contents_file(file).path.clone();
        vmroot_container_fs::Error::Contents { path, source }.into()
    }

    /// Names the action and the path of a failed call, for `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source: source.into() }
    }
}
