//! A virtio-fs device over vhost-user that serves a root to a guest, read-only.
//!
//! [`VirtioFs`] listens at a socket for a VMM, and answers the FUSE requests of its guest from a
//! [`ContainerFs`](vmroot_container_fs::ContainerFs). What the guest is told is what a FUSE mount of the root tells the
//! host's kernel. As the root never changes, the guest may keep what it has heard for good, and asks for nothing twice.
//!
//! The guest is not trusted: whatever it sends is answered, with an error where it makes no sense, and nothing is
//! allocated by a number that it names. The VMM is: it maps the memory.

mod adapter;
mod attributes;
mod crew;
mod device;
mod error;
mod options;
mod requests;
mod serve;
mod socket;
mod sources;

pub use error::{Error, Result};
pub use options::VirtioFsOptions;
pub use serve::{Stopper, VirtioFs};
pub use socket::{LockWait, check_socket, check_socket_path};
