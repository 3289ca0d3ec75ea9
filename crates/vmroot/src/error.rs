//! Everything that can go wrong, with what it means to a program's user.

use std::io;
use std::path::PathBuf;

use vmroot_image_store::{ErrorKind, limit_of_index, limit_of_stream};

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
    #[error("{path}: {source}", path = path.display())]
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
    /// The name of the limit that was in the way, where one was: a field of [`Limits`](crate::Limits) or of
    /// [`BuildOptions`](crate::BuildOptions), or a constant of `docs/limits.md`.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) => error.limit(),
            Self::Source(vmroot_transport::Error::Decompress { source, .. }) => limit_of_stream(source),
            Self::Index(error) => limit_of_index(error),
            Self::Changes(error) => limit_of_change(error),
            _ => None,
        }
    }

    /// Whether an image is here, but not for the platform that was wanted.
    pub fn is_for_other_platforms(&self) -> bool {
        matches!(self, Self::Store(vmroot_image_store::Error::OtherPlatforms { .. }))
    }

    /// What the error means to the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Model(error) => ErrorKind::of_argument(error),
            Self::Source(error) => ErrorKind::of_source(error),
            Self::Registry(error) => ErrorKind::of_registry(error),
            Self::Root(error) => ErrorKind::of_root(error),
            Self::Index(error) => ErrorKind::of_index(error),
            Self::InvalidConfig { .. } => ErrorKind::Integrity,
            Self::ArchitectureMismatch { .. } => ErrorKind::NotFound,
            Self::Io { source, .. }
            | Self::KernelMount(vmroot_kernel_mount::Error::Mountpoint { source, .. })
            | Self::Mount(vmroot_fuse_mount::Error::Mountpoint { source, .. }) => of_named_file(source),
            Self::Export(error) => of_export(error),
            Self::Erofs(error) | Self::KernelMount(vmroot_kernel_mount::Error::Image(error)) => of_erofs(error),
            Self::Ext4(error) => of_ext4(error),
            Self::VirtioFs(error) => of_virtiofs(error),
            Self::Changes(error) => of_change(error),
            Self::Boot(error) => of_boot(error),
            Self::TooLong { .. } => ErrorKind::Limit,
            Self::Guest(_) | Self::KernelMount(_) | Self::Mount(_) => ErrorKind::Other,
        }
    }
}

/// What an error of a file or a directory that the caller has named means.
fn of_named_file(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Other,
    }
}

fn of_export(error: &vmroot_export::Error) -> ErrorKind {
    use vmroot_export::Error as E;
    match error {
        E::Root(error) => ErrorKind::of_root(error),
        E::Compression(error) => ErrorKind::of_stream(error),
        E::Io { source, .. } => of_named_file(source),
        E::BeyondCpio { .. } => ErrorKind::Limit,
        E::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Other,
    }
}

fn of_ext4(error: &vmroot_ext4::Error) -> ErrorKind {
    use vmroot_ext4::Error as E;
    match error {
        E::Root(error) => ErrorKind::of_root(error),
        E::Unrepresentable { .. } | E::TooLarge { .. } => ErrorKind::Limit,
        E::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Other,
    }
}

fn of_erofs(error: &vmroot_erofs::Error) -> ErrorKind {
    use vmroot_erofs::Error as E;
    match error {
        E::Root(error) => ErrorKind::of_root(error),
        E::TooLarge { .. } | E::PathTooLong { .. } => ErrorKind::Limit,
        E::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Other,
    }
}

fn of_virtiofs(error: &vmroot_virtiofs::Error) -> ErrorKind {
    use vmroot_virtiofs::Error as E;
    match error {
        E::PathTooLong { .. } | E::Locked { .. } => ErrorKind::Limit,
        E::Cancelled => ErrorKind::Cancelled,
        E::Queues(_) => ErrorKind::Usage,
        E::Socket { source, .. } => of_named_file(source),
        _ => ErrorKind::Other,
    }
}

fn of_boot(error: &vmroot_boot::Error) -> ErrorKind {
    use vmroot_boot::Error as E;
    match error {
        E::Export(error) => of_export(error),
        E::Erofs(error) => of_erofs(error),
        E::Ext4(error) => of_ext4(error),
        E::Share(error) => of_virtiofs(error),
        E::Compressed { source, .. } if ErrorKind::of_stream(source) == ErrorKind::Limit => ErrorKind::Limit,
        E::Io { source, .. } => of_named_file(source),
        E::CommandLine { .. }
        | E::Memory { .. }
        | E::HostMemory { .. }
        | E::Processors { .. }
        | E::TooManyDisks { .. } => ErrorKind::Limit,
        E::Stopped => ErrorKind::Cancelled,
        _ => ErrorKind::Other,
    }
}

fn of_change(error: &vmroot_changes::Error) -> ErrorKind {
    use vmroot_changes::Error as E;
    match error {
        E::Io { source, .. } => of_named_file(source),
        E::Export(error) => of_export(error),
        E::Compression(error) => ErrorKind::of_stream(error),
        E::Index(error) => ErrorKind::of_index(error),
        E::Root(error) => ErrorKind::of_root(error),
        E::OnTop { source, .. } => of_change(source),
        E::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Other,
    }
}

fn limit_of_change(error: &vmroot_changes::Error) -> Option<&'static str> {
    match error {
        vmroot_changes::Error::Index(error) => limit_of_index(error),
        vmroot_changes::Error::OnTop { source, .. } => limit_of_change(source),
        _ => None,
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
                Error::Boot(Boot::Io { action: "read", path: path(), source: io(kind) }),
            ] {
                assert_eq!(error.kind(), expected, "{error}");
            }
        }
    }
}
