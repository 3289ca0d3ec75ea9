//! Mounts of a root that the kernel serves by itself, for root on Linux 6.12 and later.
//!
//! [`mount_erofs`] writes the metadata of a root to a file without a name and mounts it, with the layers' contents files
//! as its devices: native speed, and no process behind it. [`mount_overlay`] makes a writable view of a mounted root.
//! Both give a [`Mounted`], by which the mount can be waited for and taken away; nothing happens when that is dropped,
//! and nothing is left of a mount once it is unmounted, by whomever. [`MountAt`] tells the mounts of vmroot, those by FUSE
//! as well, from those of others.

mod at;
mod attributes;
mod erofs;
mod error;
mod mounted;
mod options;
mod overlay;
mod table;

pub use at::MountAt;
pub use erofs::mount_erofs;
pub use error::{Error, Result};
pub use mounted::Mounted;
pub use options::MountOptions;
pub use overlay::{Upper, check_overlay, mount_overlay};
