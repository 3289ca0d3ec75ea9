//! What stat(2) and statfs(2) say.

use vmroot_layer_index::{Inode, InodeId, InodeKind, Timestamp};

/// The block size that files are stored in, in bytes.
pub(crate) const BLOCK: u64 = 4096;

/// The attributes of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The inode; its number is the same in every run and on every machine.
    pub ino: InodeId,
    /// What it is.
    pub kind: InodeKind,
    /// `st_mode`, type bits included.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The number of names; for a directory 2 and one for each subdirectory.
    pub nlink: u32,
    /// Bytes of a file or of a link's target; 4096 for a directory, 0 for others.
    pub size: u64,
    /// The number of 512-byte blocks that the bytes take.
    pub blocks: u64,
    /// The modification time. Nothing else is known, so it stands for all of an inode's times.
    pub mtime: Timestamp,
    /// Major and minor number of a device; zeros for others.
    pub device: (u32, u32),
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
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks of all contents files together.
    pub blocks: u64,
    /// Inodes, the root included.
    pub inodes: u64,
}
