//! Serves a root as a read-only disk that is never written.
//!
//! A [`Device`] joins the EROFS metadata of a root, which is made in memory, and the contents files of its layers. Its
//! bytes are those of `export --format erofs-meta` as one disk, so a guest from Linux 5.4 on mounts it as one EROFS file
//! system. Nothing is written to a disk.
//!
//! Three servers offer a device:
//!
//! - [`NbdServer`], to clients of the network block device protocol, at a Unix socket.
//! - [`VhostUserServer`], to VMMs, as a virtio block device over vhost-user. Contents are read directly into guest memory.
//! - [`mount_file`], as a file in a FUSE mount, for programs that take a file.
//!
//! A device can record a [`Trace`]: the blocks in the order in which they were first read. [`Device::prefetch`] reads them
//! ahead in this order, for the next boot.
//!
//! Clients and guests are not trusted: each invalid request gets an error, and no allocation depends on a number in a
//! request.

mod device;
mod error;
mod file;
mod nbd;
mod stop;
mod trace;
mod vhost_user;

pub use device::{BLOCK, Device, Extent};
pub use error::{Error, Result};
pub use file::{FILE_NAME, mount_file};
pub use nbd::{EXPORT_NAME, MAX_NBD_CLIENTS, MAX_NBD_LENGTH, NbdServer, serve_nbd};
pub use stop::Stopper;
pub use trace::{TRACE_BLOCK, Trace, TraceHeader};
pub use vhost_user::{MAX_QUEUES, MAX_VMMS, VhostUserOptions, VhostUserServer};
