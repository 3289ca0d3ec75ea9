//! Serves a root to a guest, read-only, as a virtio-fs device over vhost-user.
//!
//! [`VirtioFs`] listens at a socket for a VMM, and handles the FUSE requests of its guest from a
//! [`ContainerFs`](vmroot_container_fs::ContainerFs). The guest gets the same replies as the host's kernel gets from a
//! FUSE mount of the root. Because the root never changes, the guest may cache every reply indefinitely.
//!
//! The guest is not trusted. Every request gets a reply, an error if it is invalid, and no allocation depends on a
//! number in a request. The VMM is trusted: it maps the memory.

mod adapter;
mod attributes;
mod contents_files;
mod device;
mod error;
mod options;
mod pool;
mod requests;
mod serve;
mod socket;

pub use error::{Error, Result};
pub use options::VirtioFsOptions;
pub use serve::{Stopper, VirtioFs};
pub use socket::{LockWait, Socket, check_socket, check_socket_path};
