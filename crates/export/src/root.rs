//! Properties of a root that several exports use.

use vmroot_container_fs::{ContainerFs, InodeId};

/// Returns the bytes of all files of a root. Each inode counts once.
pub(crate) fn total_bytes(fs: &ContainerFs) -> u64 {
    fs.inodes().filter_map(|ino| fs.extent(ino)).map(|extent| extent.length).sum()
}

/// Returns the bytes of all files below an inode. Each inode counts once.
pub(crate) fn bytes_below(fs: &ContainerFs, start: InodeId) -> u64 {
    if start == InodeId::ROOT {
        return total_bytes(fs);
    }
    let first_names = fs.walk_below(start).filter(|entry| entry.link_to.is_none());
    first_names.filter_map(|entry| fs.extent(entry.ino)).map(|extent| extent.length).sum()
}
