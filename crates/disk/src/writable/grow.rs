//! Larger disks.

use std::path::Path;

use vmroot_ext4::{Growth, grow_ext4};

use super::lock::{LockMode, lock_disk};
use super::{Error, Result};

/// Grows a disk to `size` bytes, in place. Nothing on it is moved, and an interruption loses nothing: a second call
/// completes the growth.
///
/// The journal of a disk that was not unmounted is replayed first. The disk may be one that mke2fs(8) made.
///
/// # Errors
/// - [`Error::InUse`]: another process uses it.
/// - [`Error::Ext4`]: there is no ext4 file system, or it cannot be grown.
/// - [`Error::Io`]: the file cannot be opened.
pub fn grow_disk(path: &Path, size: u64) -> Result<Growth> {
    let disk = lock_disk(path, LockMode::Write)?;
    grow_ext4(disk.file(), size).map_err(Error::of(path))
}
