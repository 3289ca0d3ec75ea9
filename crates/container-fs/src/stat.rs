//! The attributes of inodes and roots, as in stat(2) and statfs(2).

use vmroot_layer_index::{Device, Inode, InodeId, InodeKind, Timestamp};

/// The size in bytes of the blocks that files are stored in.
pub(crate) const BLOCK: u64 = 4096;

/// The attributes of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The inode. Its number only depends on the root.
    pub ino: InodeId,
    /// The type of the inode.
    pub kind: InodeKind,
    /// The type bits and the permissions (`st_mode`).
    pub mode: u32,
    /// The user id of the owner.
    pub uid: u32,
    /// The id of the group.
    pub gid: u32,
    /// The link count: the number of names, or for a directory 2 plus the number of subdirectories.
    pub nlink: u32,
    /// The size of a file or of a link's target in bytes; 4096 for a directory, and 0 for other inodes.
    pub size: u64,
    /// The number of 512-byte blocks of a regular file, a multiple of 8; 0 for other inodes.
    pub blocks: u64,
    /// The modification time. It also serves as access and change time, since layers only have this one.
    pub mtime: Timestamp,
    /// The major and minor number of a device; zeros for other inodes.
    pub device: Device,
}

impl Stat {
    pub(crate) fn of(ino: InodeId, inode: &Inode<'_>) -> Self {
        let kind = inode.kind();
        let size = if kind == InodeKind::Directory { BLOCK } else { inode.size() };
        let stored = if kind == InodeKind::Regular { size } else { 0 };
        Self {
            ino,
            kind,
            mode: inode.mode(),
            uid: inode.uid(),
            gid: inode.gid(),
            nlink: inode.nlink(),
            size,
            blocks: stored.div_ceil(BLOCK) * (BLOCK / 512),
            mtime: inode.mtime(),
            device: inode.device(),
        }
    }
}

/// The size of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// The size of a block in bytes.
    pub block_size: u64,
    /// The number of blocks of all contents files, including holes.
    pub blocks: u64,
    /// The number of inodes, including the root directory.
    pub inodes: u64,
}
