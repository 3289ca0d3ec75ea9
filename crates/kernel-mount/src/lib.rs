//! Mounts roots with file systems of the kernel, for the root user on Linux 6.12 and later.
//!
//! [`mount_erofs`] writes the metadata of a root to an unnamed file and mounts it, with the layers' contents files as
//! its devices. The mount has native speed and needs no process. [`mount_overlay`] mounts a writable view of a mounted
//! root. [`mount_disk`] mounts a disk that keeps the changes of such a view.
//!
//! All return a [`Mounted`], which can wait for the end of the mount and can unmount it. Dropping it does not unmount.
//! After unmounting, by any process, nothing is left of a mount. [`MountAt`] detects the mounts of vmroot, including
//! FUSE mounts.

mod at;
mod attributes;
mod disk;
mod erofs;
mod error;
mod mounted;
mod options;
mod overlay;
mod source;
mod table;

pub use at::{MountAt, Owner};
pub use disk::mount_disk;
pub use erofs::mount_erofs;
pub use error::{Error, Result};
pub use mounted::Mounted;
pub use overlay::{Upper, check_overlay, mount_overlay};
pub use vmroot_mount::MountOptions;
