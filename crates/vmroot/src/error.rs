//! Everything that can go wrong, with what it means to a program's user.

use std::io;
use std::path::PathBuf;

use vmroot_errors::{ErrorKind, Limit};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name, a platform or a document.
    #[error(transparent)]
    Model(#[from] vmroot_model::Error),
    /// The image, its layers or the cache.
    #[error(transparent)]
    Store(#[from] vmroot_image_store::Error),
    /// An archive, a layout or a repository.
    #[error(transparent)]
    Source(#[from] vmroot_transport::Error),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] vmroot_registry::Error),
    /// A merged root.
    #[error(transparent)]
    Root(#[from] vmroot_container_fs::Error),
    /// A layer or an index.
    #[error(transparent)]
    Index(#[from] vmroot_layer_index::Error),
    /// An export.
    #[error(transparent)]
    Export(#[from] vmroot_export::Error),
    /// A change to an image.
    #[error(transparent)]
    Changes(#[from] vmroot_changes::Error),
    /// An EROFS image.
    #[error(transparent)]
    Erofs(#[from] vmroot_erofs::Error),
    /// An ext4 file system.
    #[error(transparent)]
    Ext4(#[from] vmroot_ext4::Error),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] vmroot_fuse_mount::Error),
    /// A virtio-fs device.
    #[error(transparent)]
    VirtioFs(#[from] vmroot_virtiofs::Error),
    /// A guest that is booted.
    #[error(transparent)]
    Boot(#[from] vmroot_boot::Error),
    /// What is to go into a guest.
    #[error(transparent)]
    Guest(#[from] vmroot_guest::Error),
    /// A mount by the kernel alone.
    #[error(transparent)]
    KernelMount(#[from] vmroot_kernel_mount::Error),
    /// The image is for another architecture than the one asked for.
    #[error("image architecture mismatch: image is for {actual} but expected {expected}")]
    ArchitectureMismatch {
        /// What was asked for.
        expected: String,
        /// What the image is for.
        actual: String,
    },
    /// The `config.json` of a prebaked directory.
    #[error("{path}: {reason}", path = path.display())]
    InvalidConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that is longer than anything of its kind.
    #[error("{path}: longer than {limit} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most bytes that it may have.
        limit: u64,
    },
    /// A file that cannot be read or written.
    #[error("{path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<vmroot_output::Error> for Error {
    fn from(error: vmroot_output::Error) -> Self {
        Self::Export(error.into())
    }
}

impl Error {
    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Store(error) => error.limit(),
            Self::Source(error) => error.limit(),
            Self::Index(error) => error.limit(),
            Self::Export(error) => error.limit(),
            Self::Changes(error) => error.limit(),
            Self::Boot(error) => error.limit(),
            _ => None,
        }
    }

    /// Whether an image is here, but not for the platform that was wanted.
    pub fn is_for_other_platforms(&self) -> bool {
        matches!(self, Self::Store(vmroot_image_store::Error::OtherPlatforms { .. }))
    }

    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Model(error) => error.kind_of_argument(),
            Self::Source(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Root(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::InvalidConfig { .. } => ErrorKind::Integrity,
            Self::ArchitectureMismatch { .. } => ErrorKind::NotFound,
            Self::Io { source, .. } => ErrorKind::of_named_file(source),
            Self::Export(error) => error.kind(),
            Self::Erofs(error) => error.kind(),
            Self::Ext4(error) => error.kind(),
            Self::VirtioFs(error) => error.kind(),
            Self::Changes(error) => error.kind(),
            Self::Boot(error) => error.kind(),
            Self::Mount(error) => error.kind(),
            Self::KernelMount(error) => error.kind(),
            Self::TooLong { .. } => ErrorKind::Limit,
            Self::Guest(_) => ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use vmroot_boot::{Error as Boot, Vmm};

    use super::*;

    /// More of anything than a guest can have is a limit as any other; what a monitor cannot do at all is none.
    #[test]
    fn the_limits_of_a_machine_are_limits() {
        let vmm = Vmm::Firecracker;
        for error in [
            Boot::Memory { asked: 1, least: 2 },
            Boot::HostMemory { asked: 2, available: 1 },
            Boot::Processors { vmm, limit: 32, asked: 33 },
            Boot::TooManyDisks { vmm, disks: 20, limit: 19 },
        ] {
            assert_eq!(Error::from(error).kind(), ErrorKind::Limit);
        }
        let unsupported = Boot::Unsupported { vmm, what: "has no virtio-fs".to_owned() };
        assert_eq!(Error::from(unsupported).kind(), ErrorKind::Other);
    }

    #[test]
    fn a_named_file_that_is_not_there_is_not_found() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        for (kind, expected) in
            [(io::ErrorKind::NotFound, ErrorKind::NotFound), (io::ErrorKind::PermissionDenied, ErrorKind::Other)]
        {
            let path = || PathBuf::from("/x");
            for error in [
                Error::Io { path: path(), source: io(kind) },
                Error::KernelMount(vmroot_kernel_mount::Error::Mountpoint { path: path(), source: io(kind) }),
                Error::Mount(vmroot_fuse_mount::Error::Mountpoint { path: path(), source: io(kind) }),
                Error::VirtioFs(vmroot_virtiofs::Error::Socket { path: path(), source: io(kind) }),
                Error::Boot(vmroot_output::Error { action: "read", path: path(), source: io(kind) }.into()),
            ] {
                assert_eq!(error.kind(), expected, "{error}");
            }
        }
    }
}
