//! Writable disks: files with an ext4 file system, which one guest at a time mounts.
//!
//! A program that uses a disk locks it. [`lock_disk`] takes the lock: by flock(2), exclusive for a writer and shared for
//! readers. The functions of this module take it, and refuse a disk in use: one that is locked so, one that QEMU or
//! another monitor locks with fcntl(2), and one that is attached to a loop device.
//!
//! ```
//! use vmroot_disk::writable::{CreateOptions, create_disk, disk_info, grow_disk};
//!
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("data.ext4");
//! create_disk(&path, &CreateOptions::new(64 << 20))?;
//! grow_disk(&path, 8 << 30)?;
//! assert_eq!(disk_info(&path)?.size, 8 << 30);
//! # Ok::<(), vmroot_disk::writable::Error>(())
//! ```

mod clone;
mod create;
mod error;
mod grow;
mod info;
mod lock;
mod options;

pub use clone::{CloneOptions, clone_disk};
pub use create::{create_disk, create_disk_from};
pub use error::{Error, Result};
pub use grow::grow_disk;
pub use info::{DiskInfo, RecordedImage, UpperState, disk_info};
pub use lock::{DiskLock, LockMode, lock_disk};
pub use options::{CreateOptions, Identity};
