//! Mounts a root with FUSE, read-only.
//!
//! [`Mount`] mounts a [`ContainerFs`](vmroot_container_fs::ContainerFs) on a directory and serves it from its own
//! threads. The root user mounts with mount(2), other users with the setuid helper `fusermount3`. The mount has the
//! same content and attributes as the `ContainerFs`. Because the root never changes, the kernel may cache every reply
//! indefinitely.
//!
//! Threads do not survive a fork, so a program that detaches from its terminal must do so before it mounts.

mod adapter;
mod attributes;
mod device;
mod error;
mod file;
mod fusermount;
mod mount;
mod prefetch;
mod refusal;

pub use error::{Error, Result};
pub use file::FileBytes;
pub use fusermount::unmount_as_user;
pub use mount::{Mount, Unmounted, Unmounter};
pub use refusal::Refusal;
pub use vmroot_mount::MountOptions;
