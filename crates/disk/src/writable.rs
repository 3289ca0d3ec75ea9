//! Writable disks: files with an ext4 file system, which one guest at a time mounts.
//!
//! A disk that is in use has a lock, by flock(2): shared while it is read, exclusive while it is written. The functions
//! of this module take it, and refuse a disk that another process has locked.

mod error;
mod options;

pub use error::{Error, Result};
pub use options::{CreateOptions, Identity};
