//! Parts of replies in the FUSE protocol.

use rustix::io::Errno;
use vmroot_container_fs::{InodeId, InodeKind, Stat, Timestamp, pack_device};

/// The size in bytes of a block for reading, `st_blksize`.
const BLOCK_SIZE: u32 = 4096;

/// Converts an inode id to the protocol's number, which is also `st_ino`: the root is 1, and 0 is invalid.
pub fn inode_number(ino: InodeId) -> u64 {
    u64::from(ino.0) + 1
}

/// The attributes of an inode, as in stat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// The number of the inode ([`inode_number`]).
    pub number: u64,
    /// The type of the inode.
    pub kind: InodeKind,
    /// The type bits and the permissions.
    pub mode: u32,
    /// The link count.
    pub nlink: u32,
    /// The user id of the owner.
    pub uid: u32,
    /// The id of the group.
    pub gid: u32,
    /// The packed device number; 0 for inodes other than devices.
    pub rdev: u32,
    /// The size in bytes.
    pub size: u64,
    /// The number of 512-byte blocks.
    pub blocks: u64,
    /// The size in bytes of a block for reading.
    pub block_size: u32,
    /// The time of access, change, creation and modification: a layer has one time for each inode.
    pub time: Timestamp,
}

impl From<Stat> for Attributes {
    fn from(stat: Stat) -> Self {
        Self {
            number: inode_number(stat.ino),
            kind: stat.kind,
            mode: stat.mode,
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            rdev: pack_device(stat.device),
            size: stat.size,
            blocks: stat.blocks,
            block_size: BLOCK_SIZE,
            time: stat.mtime,
        }
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode.
    pub ino: InodeId,
    /// The type of the inode.
    pub kind: InodeKind,
    /// The offset of the next entry.
    pub next: u64,
}

impl DirectoryEntry<'_> {
    /// Returns the type of the inode as readdir(3) has it: the type bits of a mode, shifted.
    pub fn dirent_type(&self) -> u32 {
        match self.kind {
            InodeKind::Fifo => 1,
            InodeKind::Character => 2,
            InodeKind::Directory => 4,
            InodeKind::Block => 6,
            // A merged root has no inode of the kind `Link`.
            InodeKind::Regular | InodeKind::Link => 8,
            InodeKind::Symlink => 10,
            InodeKind::Socket => 12,
        }
    }
}

/// The size of a root, as in statvfs(3). All blocks and inodes are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystemSize {
    /// The size of a block in bytes.
    pub block_size: u32,
    /// The number of blocks.
    pub blocks: u64,
    /// The number of inodes.
    pub inodes: u64,
    /// The largest length of a name in bytes.
    pub max_name: u32,
}

/// The reply to a request of xattr(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrReply<T> {
    /// The number of bytes, for a caller that requests the size.
    Size(u32),
    /// The bytes.
    Bytes(T),
}

impl<T: AsRef<[u8]>> XattrReply<T> {
    /// Returns the reply for a caller with a buffer of `size` bytes. A size of 0 requests the size.
    pub(crate) fn new(bytes: T, size: u32) -> Result<Self, Errno> {
        let length = bytes.as_ref().len();
        match size {
            0 => u32::try_from(length).map(Self::Size).map_err(|_| Errno::TOOBIG),
            size if length > size as usize => Err(Errno::RANGE),
            _ => Ok(Self::Bytes(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use vmroot_container_fs::Device;

    use super::*;

    #[test]
    fn a_device_is_packed_and_the_root_is_number_one() {
        let stat = Stat {
            ino: InodeId::ROOT,
            kind: InodeKind::Character,
            mode: 0o020_666,
            uid: 1,
            gid: 2,
            nlink: 3,
            size: 0,
            blocks: 0,
            mtime: Timestamp { seconds: -1, nanoseconds: 5 },
            device: Device { major: 1, minor: 3 },
        };
        let attributes = Attributes::from(stat);
        assert_eq!((attributes.number, attributes.rdev, attributes.block_size), (1, 0x103, 4096));
        assert_eq!(attributes.time, stat.mtime);
    }

    #[test]
    fn xattr_replies_depend_on_the_size_of_the_buffer() {
        assert_eq!(XattrReply::new("abc", 0), Ok(XattrReply::Size(3)));
        assert_eq!(XattrReply::new("abc", 2), Err(Errno::RANGE));
        assert_eq!(XattrReply::new("abc", 3), Ok(XattrReply::Bytes("abc")));
        assert_eq!(XattrReply::new("", 0), Ok(XattrReply::Size(0)));
    }
}
