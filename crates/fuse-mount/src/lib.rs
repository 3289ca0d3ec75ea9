//! A FUSE mount of a root, read-only.
//!
//! [`Mount`] puts a [`ContainerFs`](vmroot_container_fs::ContainerFs) at a directory and serves it from threads of its
//! own. Root mounts with mount(2), everyone else through the setuid helper `fusermount3`. What the file system says is
//! what `ContainerFs` says. As it never changes, the kernel may keep what it has heard for good, and asks for nothing
//! twice.
//!
//! Threads do not survive a fork: a program that detaches from its terminal has to do so before it mounts.

mod adapter;
mod ahead;
mod attributes;
mod device;
mod error;
mod fusermount;
mod mount;
mod options;

pub use error::{Error, Result};
pub use mount::{Mount, Unmounted, Unmounter};
pub use options::MountOptions;
