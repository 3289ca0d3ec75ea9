//! The disk as a file in a FUSE mount.

use std::io;
use std::path::Path;
use std::sync::Arc;

use vmroot_fuse_mount::{FileBytes, Mount, MountOptions};

use crate::{Device, Result};

/// The name of the file in the mount.
pub const FILE_NAME: &str = "root.img";

/// Mounts a directory with the disk as its only file, [`FILE_NAME`]. When this returns, the file can be read.
///
/// The kernel may cache the file's pages indefinitely. Reads of any offset and length are right, with and without
/// `O_DIRECT`.
///
/// # Errors
/// [`Error::Mount`](crate::Error::Mount) if the mount fails.
pub fn mount_file(device: Arc<Device>, mountpoint: &Path, options: &MountOptions) -> Result<Mount> {
    Ok(Mount::of_file(FILE_NAME, device, mountpoint, options)?)
}

impl FileBytes for Device {
    fn length(&self) -> u64 {
        self.length()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}
