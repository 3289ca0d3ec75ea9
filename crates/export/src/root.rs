//! Questions about a root that several forms ask.

use vmroot_container_fs::ContainerFs;

/// Bytes of all files of a root, each inode once.
pub(crate) fn total_bytes(fs: &ContainerFs) -> u64 {
    fs.inodes().filter_map(|ino| fs.extent(ino)).map(|extent| extent.length).sum()
}
