//! Properties of a root that several exports use.

use vmroot_container_fs::ContainerFs;

/// Returns the bytes of all files of a root. Each inode counts once.
pub(crate) fn total_bytes(fs: &ContainerFs) -> u64 {
    fs.inodes().filter_map(|ino| fs.extent(ino)).map(|extent| extent.length).sum()
}
