//! The errors of all crates that an error is made of.

use std::error::Error as StdError;
use std::io;

use vmroot_errors::Classified;

use super::{Error, Inner};

type Cause<'e> = &'e (dyn StdError + 'static);

/// Returns an error and its causes, outermost first. An error that shows the message of another one is followed by that
/// one, which `source` leaves out.
pub(super) fn causes(error: &Error) -> Vec<Cause<'_>> {
    std::iter::successors(Some(error as Cause<'_>), |error| next(unboxed(*error)).map(unboxed)).collect()
}

/// Returns the error inside a box, for a cause that is boxed.
fn unboxed(error: Cause<'_>) -> Cause<'_> {
    macro_rules! unbox {
        ($($error:ty),*) => {
            $(if let Some(inner) = error.downcast_ref::<Box<$error>>() {
                return &**inner;
            })*
        };
    }
    unbox!(
        Error,
        vmroot_model::Error,
        vmroot_image_store::Error,
        vmroot_transport::Error,
        vmroot_compress::Error,
        vmroot_encryption::Error,
        vmroot_layer_index::Error,
        vmroot_export::Error,
        vmroot_changes::Error
    );
    #[cfg(feature = "ext4")]
    unbox!(vmroot_ext4::Error);
    error
}

fn next(error: Cause<'_>) -> Option<Cause<'_>> {
    if let Some(Error(inner)) = error.downcast_ref() {
        return of_this_crate(inner);
    }
    shown(error).or_else(|| error.source())
}

/// Returns the error that shows as one of this crate, or else the cause.
fn of_this_crate(inner: &Inner) -> Option<Cause<'_>> {
    Some(match inner {
        Inner::Model(error) => error,
        Inner::Store(error) => error,
        Inner::Source(error) => error,
        Inner::Copy(error) => error,
        Inner::Encryption(error) => error,
        #[cfg(feature = "trust")]
        Inner::Trust(error) => error,
        #[cfg(feature = "trust")]
        Inner::Sigstore(error) => error,
        #[cfg(feature = "trust")]
        Inner::OpenPgp(error) => error,
        #[cfg(feature = "registry")]
        Inner::Registry(error) => error,
        #[cfg(feature = "registry")]
        Inner::Configuration(error) => error,
        Inner::Root(error) => error,
        Inner::Index(error) => error,
        Inner::Export(error) => error,
        Inner::Changes(error) => error,
        Inner::Verity(error) => error,
        #[cfg(feature = "erofs")]
        Inner::Erofs(error) => error,
        #[cfg(feature = "ext4")]
        Inner::Ext4(error) => error,
        #[cfg(feature = "ext4")]
        Inner::Disk(error) => error,
        #[cfg(feature = "fuse")]
        Inner::Fuse(error) => error,
        #[cfg(feature = "virtiofs")]
        Inner::VirtioFs(error) => error,
        #[cfg(feature = "disk-serve")]
        Inner::DiskServe(error) => error,
        #[cfg(feature = "boot")]
        Inner::Boot(error) => error,
        #[cfg(feature = "boot")]
        Inner::Guest(error) => error,
        #[cfg(feature = "kernel-mount")]
        Inner::KernelMount(error) => error,
        Inner::NotFetched { find, .. } => &**find,
        other => return other.source(),
    })
}

/// Returns the error whose message an error of another crate shows as its own.
fn shown(error: Cause<'_>) -> Option<Cause<'_>> {
    macro_rules! shown {
        ($($variant:path),* $(,)?) => {
            match error.downcast_ref() {
                $(Some($variant(inner)) => return Some(inner),)*
                _ => {}
            }
        };
    }
    shown!(
        vmroot_image_store::Error::Source,
        vmroot_image_store::Error::Cache,
        vmroot_image_store::Error::Root,
        vmroot_image_store::Error::Index,
    );
    shown!(vmroot_cache::Error::Io);
    shown!(vmroot_transport::Error::RefusedByPolicy, vmroot_transport::Error::Name);
    shown!(vmroot_container_fs::Error::Index);
    shown!(vmroot_compress::Error::Io);
    shown!(
        vmroot_changes::Error::Io,
        vmroot_changes::Error::Export,
        vmroot_changes::Error::Compression,
        vmroot_changes::Error::Index,
        vmroot_changes::Error::Root,
    );
    shown!(vmroot_export::Error::Io, vmroot_export::Error::Compression, vmroot_export::Error::Root);
    #[cfg(feature = "registry")]
    shown!(vmroot_transport::Error::Registry);
    #[cfg(feature = "registry")]
    shown!(vmroot_config_files::Error::Name, vmroot_config_files::Error::Credentials);
    #[cfg(feature = "erofs")]
    shown!(vmroot_erofs::Error::Io, vmroot_erofs::Error::Root);
    #[cfg(feature = "ext4")]
    shown!(vmroot_ext4::Error::Io, vmroot_ext4::Error::Root);
    #[cfg(feature = "ext4")]
    shown!(vmroot_disk::writable::Error::Io);
    #[cfg(feature = "kernel-mount")]
    shown!(vmroot_kernel_mount::Error::Image);
    #[cfg(feature = "disk-serve")]
    shown!(vmroot_disk_serve::Error::Erofs, vmroot_disk_serve::Error::Socket, vmroot_disk_serve::Error::Mount,);
    #[cfg(feature = "boot")]
    shown!(
        vmroot_boot::Error::Io,
        vmroot_boot::Error::Export,
        vmroot_boot::Error::Erofs,
        vmroot_boot::Error::Ext4,
        vmroot_boot::Error::Share,
        vmroot_boot::Error::Root,
        vmroot_boot::Error::DiskServe,
    );
    if let Some(transport) = error.downcast_ref::<vmroot_transport::Error>()
        && let vmroot_transport::Error::Other { source, .. } = transport
    {
        return Some(&**source);
    }
    if let Some(classified) = error.downcast_ref::<Classified>() {
        return Some(classified.error());
    }
    // `source` of an `io::Error` that wraps another error leaves that error out.
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}
