//! The error of this crate's functions.

mod causes;

use std::io;
use std::path::{Path, PathBuf};

use vmroot_errors::{ErrorKind, Limit};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate's functions.
///
/// [`Self::kind`] says what the error means to a caller. The message names the file, entry, digest, offset or URL. It
/// does not repeat the messages of [`source`](std::error::Error::source); [`with_causes`](crate::with_causes) joins
/// them.
///
/// ```
/// # let cache = tempfile::tempdir().unwrap();
/// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
/// let error = client.find("alpine:3.20", None).unwrap_err();
/// assert_eq!(error.kind(), vmroot::ErrorKind::NotFound);
/// assert_eq!(vmroot::with_causes(&error), "no such image: alpine:3.20");
/// # Ok::<(), vmroot::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
enum Inner {
    #[error(transparent)]
    Model(vmroot_model::Error),
    #[error(transparent)]
    Store(vmroot_image_store::Error),
    #[error(transparent)]
    Source(vmroot_transport::Error),
    #[error(transparent)]
    Copy(vmroot_copy::Error),
    #[error(transparent)]
    Encryption(vmroot_encryption::Error),
    #[cfg(feature = "trust")]
    #[error(transparent)]
    Trust(vmroot_trust::Error),
    #[cfg(feature = "trust")]
    #[error(transparent)]
    Sigstore(vmroot_sigstore::Error),
    #[cfg(feature = "trust")]
    #[error(transparent)]
    OpenPgp(vmroot_openpgp::Error),
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(vmroot_registry::Error),
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Configuration(vmroot_config_files::Error),
    #[error("{name}: none of its registries has the image: {others}")]
    NoCandidate { name: String, others: String, source: Box<Error> },
    #[error(transparent)]
    Root(vmroot_container_fs::Error),
    #[error(transparent)]
    Index(vmroot_layer_index::Error),
    #[error(transparent)]
    Export(vmroot_export::Error),
    #[error(transparent)]
    Changes(vmroot_changes::Error),
    #[error(transparent)]
    Verity(vmroot_verity::Error),
    #[cfg(feature = "erofs")]
    #[error(transparent)]
    Erofs(vmroot_erofs::Error),
    #[cfg(feature = "ext4")]
    #[error(transparent)]
    Ext4(vmroot_ext4::Error),
    #[cfg(feature = "ext4")]
    #[error(transparent)]
    Disk(vmroot_disk::writable::Error),
    #[cfg(feature = "fuse")]
    #[error(transparent)]
    Fuse(vmroot_fuse_mount::Error),
    #[cfg(feature = "virtiofs")]
    #[error(transparent)]
    VirtioFs(vmroot_virtiofs::Error),
    #[cfg(feature = "disk-serve")]
    #[error(transparent)]
    DiskServe(vmroot_disk_serve::Error),
    #[cfg(feature = "boot")]
    #[error(transparent)]
    Boot(vmroot_boot::Error),
    #[cfg(feature = "boot")]
    #[error(transparent)]
    Guest(vmroot_guest::Error),
    #[cfg(feature = "kernel-mount")]
    #[error(transparent)]
    KernelMount(vmroot_kernel_mount::Error),
    #[error("image architecture mismatch: image is for {actual} but expected {expected}")]
    ArchitectureMismatch { expected: String, actual: String },
    #[error("{path}: {reason}", path = path.display())]
    InvalidConfig { path: PathBuf, reason: String },
    #[error("{find}, and fetching it failed: {reason}")]
    NotFetched { find: Box<Error>, reason: String },
    #[error("{name} is not in the cache, and fetching it failed")]
    NotHere { name: String, source: Box<Error> },
    #[cfg(not(feature = "registry"))]
    #[error("{0}: this build cannot reach registries; its feature `registry` is off")]
    NoRegistry(vmroot_model::Reference),
    #[error("{}: the disk has the changes to another image, {other}, not to {image}", disk.display())]
    OtherImage { disk: PathBuf, other: String, image: String },
    #[error("{path}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Implements `From` for the error of each crate, with a variant of [`Inner`] for it.
macro_rules! from {
    ($($(#[$feature:meta])? $variant:ident($error:ty),)*) => {
        $($(#[$feature])?
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self(Box::new(Inner::$variant(error)))
            }
        })*
    };
}

from! {
    Model(vmroot_model::Error),
    Store(vmroot_image_store::Error),
    Source(vmroot_transport::Error),
    Copy(vmroot_copy::Error),
    Encryption(vmroot_encryption::Error),
    #[cfg(feature = "trust")]
    Trust(vmroot_trust::Error),
    #[cfg(feature = "trust")]
    Sigstore(vmroot_sigstore::Error),
    #[cfg(feature = "trust")]
    OpenPgp(vmroot_openpgp::Error),
    #[cfg(feature = "registry")]
    Registry(vmroot_registry::Error),
    #[cfg(feature = "registry")]
    Configuration(vmroot_config_files::Error),
    Root(vmroot_container_fs::Error),
    Index(vmroot_layer_index::Error),
    Export(vmroot_export::Error),
    Changes(vmroot_changes::Error),
    Verity(vmroot_verity::Error),
    #[cfg(feature = "erofs")]
    Erofs(vmroot_erofs::Error),
    #[cfg(feature = "ext4")]
    Ext4(vmroot_ext4::Error),
    #[cfg(feature = "ext4")]
    Disk(vmroot_disk::writable::Error),
    #[cfg(feature = "fuse")]
    Fuse(vmroot_fuse_mount::Error),
    #[cfg(feature = "virtiofs")]
    VirtioFs(vmroot_virtiofs::Error),
    #[cfg(feature = "disk-serve")]
    DiskServe(vmroot_disk_serve::Error),
    #[cfg(feature = "boot")]
    Boot(vmroot_boot::Error),
    #[cfg(feature = "boot")]
    Guest(vmroot_guest::Error),
    #[cfg(feature = "kernel-mount")]
    KernelMount(vmroot_kernel_mount::Error),
}

impl From<vmroot_output::Error> for Error {
    fn from(error: vmroot_output::Error) -> Self {
        vmroot_export::Error::from(error).into()
    }
}

impl Error {
    /// Returns the meaning of the error to a caller.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Inner::Model(error) => error.kind_of_argument(),
            Inner::Store(error) => error.kind(),
            Inner::Source(error) => error.kind(),
            Inner::Copy(error) => error.kind(),
            Inner::Encryption(error) => error.kind(),
            #[cfg(feature = "trust")]
            Inner::Trust(error) => error.kind(),
            #[cfg(feature = "trust")]
            Inner::Sigstore(error) => error.kind(),
            #[cfg(feature = "trust")]
            Inner::OpenPgp(error) => error.kind(),
            #[cfg(feature = "registry")]
            Inner::Registry(error) => error.kind(),
            #[cfg(feature = "registry")]
            Inner::Configuration(error) => error.kind(),
            Inner::NoCandidate { source, .. } => source.kind(),
            Inner::Root(error) => error.kind(),
            Inner::Index(error) => error.kind(),
            Inner::Export(error) => error.kind(),
            Inner::Changes(error) => error.kind(),
            Inner::Verity(error) => error.kind(),
            #[cfg(feature = "erofs")]
            Inner::Erofs(error) => error.kind(),
            #[cfg(feature = "ext4")]
            Inner::Ext4(error) => error.kind(),
            #[cfg(feature = "ext4")]
            Inner::Disk(error) => error.kind(),
            #[cfg(feature = "fuse")]
            Inner::Fuse(error) => error.kind(),
            #[cfg(feature = "virtiofs")]
            Inner::VirtioFs(error) => error.kind(),
            #[cfg(feature = "disk-serve")]
            Inner::DiskServe(error) => error.kind(),
            #[cfg(feature = "boot")]
            Inner::Boot(error) => error.kind(),
            #[cfg(feature = "boot")]
            Inner::Guest(_) => ErrorKind::Other,
            #[cfg(feature = "kernel-mount")]
            Inner::KernelMount(error) => error.kind(),
            #[cfg(not(feature = "registry"))]
            Inner::NoRegistry(_) => ErrorKind::Unreachable,
            Inner::NotFetched { find, .. } => find.kind(),
            Inner::NotHere { source, .. } => source.kind(),
            Inner::ArchitectureMismatch { .. } => ErrorKind::NotFound,
            Inner::InvalidConfig { .. } => ErrorKind::Integrity,
            Inner::OtherImage { .. } => ErrorKind::Other,
            Inner::Io { source, .. } => ErrorKind::of_named_file(source),
        }
    }

    /// Returns the limit that an input passed, for an error of [`ErrorKind::Limit`] that has one with a name.
    pub fn limit(&self) -> Option<Limit> {
        match &*self.0 {
            Inner::Store(error) => error.limit(),
            Inner::Source(error) => error.limit(),
            Inner::Copy(error) => error.limit(),
            Inner::Encryption(error) => error.limit(),
            #[cfg(feature = "trust")]
            Inner::Trust(error) => error.limit(),
            Inner::Index(error) => error.limit(),
            Inner::Export(error) => error.limit(),
            Inner::Changes(error) => error.limit(),
            #[cfg(feature = "boot")]
            Inner::Boot(error) => error.limit(),
            _ => None,
        }
    }

    /// Returns true if the cache has the image, but not for the requested platform.
    pub fn is_for_other_platforms(&self) -> bool {
        matches!(&*self.0, Inner::Store(vmroot_image_store::Error::OtherPlatforms { .. }))
    }

    /// Returns true if the image is in Docker's obsolete schema 1. [`Client::schema1`](crate::Client::schema1) reads its
    /// manifest, and [`Client::copy`](crate::Client::copy) converts it.
    pub fn is_schema1(&self) -> bool {
        let is_schema1 = |error: &&(dyn std::error::Error + 'static)| {
            matches!(error.downcast_ref(), Some(vmroot_model::Error::Schema1 { .. }))
        };
        self.causes().iter().any(is_schema1)
    }

    /// Returns this error and its causes, outermost first, as the types of the crates that they come from.
    ///
    /// [`source`](std::error::Error::source) leaves out an error whose message this one shows as its own. This method
    /// has every one, so that a caller can match the type that it needs, for example to say what to do.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::image_store;
    ///
    /// let error = client.find("alpine:3.20", None).unwrap_err();
    /// let of_store = error.causes().into_iter().find_map(|cause| cause.downcast_ref());
    /// assert!(matches!(of_store, Some(image_store::Error::NoSuchImage(name)) if name == "alpine:3.20"));
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    pub fn causes(&self) -> Vec<&(dyn std::error::Error + 'static)> {
        causes::causes(self)
    }

    /// Returns the error for a guest's disk that belongs to another image.
    pub(crate) fn of_other_image(disk: &Path, other: &str, image: String) -> Self {
        Self(Box::new(Inner::OtherImage { disk: disk.to_owned(), other: other.to_owned(), image }))
    }

    /// Returns the error for an image that was first not found in the cache, with the error `find`, and then could not be
    /// fetched, with this error.
    ///
    /// If the cache has the image for other platforms, `find` is the more useful error. The result then has its kind, and
    /// the messages of both. If the image's source cannot be reached, refuses or does not have the image, the result
    /// also says that the cache does not have it. Otherwise this error is the result.
    #[must_use]
    pub fn after_find(self, find: Option<Self>) -> Self {
        match find {
            Some(find) if find.is_for_other_platforms() && self.kind() != ErrorKind::Cancelled => {
                let reason = vmroot_errors::with_causes(&self);
                Self(Box::new(Inner::NotFetched { find: Box::new(find), reason }))
            }
            Some(Self(find)) if self.is_of_source() => match *find {
                Inner::Store(vmroot_image_store::Error::NoSuchImage(name)) => {
                    Self(Box::new(Inner::NotHere { name, source: Box::new(self) }))
                }
                _ => self,
            },
            _ => self,
        }
    }

    /// Returns whether the source of an image cannot be reached, refuses, or does not have the image.
    fn is_of_source(&self) -> bool {
        use ErrorKind::{Authentication, NotFound, RateLimited, Unreachable};
        matches!(self.kind(), Authentication | NotFound | RateLimited | Unreachable)
    }

    /// Joins the errors of all references that a name may stand for.
    pub(crate) fn no_candidate(name: &str, mut failed: Vec<(vmroot_model::Reference, Self)>) -> Self {
        let Some((_, last)) = failed.pop() else {
            return vmroot_image_store::Error::NoSuchImage(name.to_owned()).into();
        };
        if failed.is_empty() {
            return last;
        }
        let others =
            failed.iter().map(|(reference, error)| format!("[{reference}: {}]", vmroot_errors::with_causes(error)));
        let others = others.collect::<Vec<_>>().join(" ");
        Self(Box::new(Inner::NoCandidate { name: name.to_owned(), others, source: Box::new(last) }))
    }

    #[cfg(not(feature = "registry"))]
    pub(crate) fn no_registry(reference: vmroot_model::Reference) -> Self {
        Self(Box::new(Inner::NoRegistry(reference)))
    }

    pub(crate) fn architecture_mismatch(expected: String, actual: String) -> Self {
        Self(Box::new(Inner::ArchitectureMismatch { expected, actual }))
    }

    pub(crate) fn invalid_config(path: &Path, reason: String) -> Self {
        Self(Box::new(Inner::InvalidConfig { path: path.to_owned(), reason }))
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self(Box::new(Inner::Io { path: path.to_owned(), source }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than a guest can have of something exceeds a limit; a thing that a VMM cannot do at all does not.
    #[cfg(feature = "boot")]
    #[test]
    fn the_limits_of_a_machine_are_limits() {
        use vmroot_boot::{Error as Boot, Vmm};

        let vmm = Vmm::Firecracker;
        for error in [
            Boot::Memory { requested: 1, minimum: 2 },
            Boot::HostMemory { requested: 2, available: 1 },
            Boot::Processors { vmm, limit: 32, requested: 33 },
            Boot::TooManyDisks { vmm, disks: 20, limit: 19 },
        ] {
            assert_eq!(Error::from(error).kind(), ErrorKind::Limit);
        }
        let unsupported = Boot::Unsupported { vmm, what: "has no virtio-fs".to_owned() };
        assert_eq!(Error::from(unsupported).kind(), ErrorKind::Other);
        let timeout = Boot::Timeout(std::time::Duration::from_secs(1));
        assert_eq!(Error::from(timeout).kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_named_file_that_does_not_exist_is_not_found() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        for (kind, expected) in
            [(io::ErrorKind::NotFound, ErrorKind::NotFound), (io::ErrorKind::PermissionDenied, ErrorKind::Other)]
        {
            let errors = [
                Error::io("/x".as_ref(), io(kind)),
                #[cfg(feature = "kernel-mount")]
                vmroot_kernel_mount::Error::Mountpoint { path: "/x".into(), source: io(kind) }.into(),
                #[cfg(feature = "fuse")]
                vmroot_fuse_mount::Error::Mountpoint { path: "/x".into(), source: io(kind) }.into(),
                #[cfg(feature = "virtiofs")]
                vmroot_virtiofs::Error::Socket { path: "/x".into(), source: io(kind) }.into(),
                #[cfg(feature = "boot")]
                vmroot_boot::Error::from(vmroot_output::Error { action: "read", path: "/x".into(), source: io(kind) })
                    .into(),
            ];
            for error in errors {
                assert_eq!(error.kind(), expected, "{error}");
            }
        }
    }
}
