//! One inode of an index that [`Index::open`](crate::Index::open) has accepted: no access here can fail.

use crate::format::{
    IMPLICIT, InodeRecord, KIND_LINK, KIND_WHITEOUT, OPAQUE, PASSIVE, Section, XattrRecord, XattrSetRecord, mode,
};
use crate::open::Index;

/// A point in time: seconds since the epoch, rounded down, and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InodeKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// In a layer only: a hard link to a path of a lower layer.
    Link,
}

impl InodeKind {
    /// The kind that the type bits of `st_mode` name.
    pub const fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & mode::TYPE {
            mode::REGULAR => Self::Regular,
            mode::DIRECTORY => Self::Directory,
            mode::SYMLINK => Self::Symlink,
            mode::CHARACTER => Self::Character,
            mode::BLOCK => Self::Block,
            mode::FIFO => Self::Fifo,
            mode::SOCKET => Self::Socket,
            mode::LINK => Self::Link,
            _ => return None,
        })
    }

    /// The `kind` of a dirent that names such an inode: its `DT_*` type.
    pub(crate) const fn dirent_kind(self) -> u8 {
        match self {
            Self::Regular => 8,
            Self::Directory => 4,
            Self::Symlink => 10,
            Self::Character => 2,
            Self::Block => 6,
            Self::Fifo => 1,
            Self::Socket => 12,
            Self::Link => KIND_LINK,
        }
    }
}

/// What a directory entry is: an inode of some kind, or a whiteout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirentKind {
    /// The dirent names an inode of this kind.
    Inode(InodeKind),
    /// In a layer only: the name is deleted from lower layers.
    Whiteout,
}

impl DirentKind {
    pub(crate) const fn of_record(kind: u8) -> Option<Self> {
        Some(Self::Inode(match kind {
            8 => InodeKind::Regular,
            4 => InodeKind::Directory,
            10 => InodeKind::Symlink,
            2 => InodeKind::Character,
            6 => InodeKind::Block,
            1 => InodeKind::Fifo,
            12 => InodeKind::Socket,
            KIND_LINK => InodeKind::Link,
            KIND_WHITEOUT => return Some(Self::Whiteout),
            _ => return None,
        }))
    }
}

/// Where the bytes of a file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Position in [`Index::contents`].
    pub file: u32,
    /// From the start of that file in bytes, a multiple of 4096.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// One inode of an index.
#[derive(Clone, Copy)]
pub struct Inode<'a> {
    pub(crate) index: &'a Index,
    pub(crate) record: &'a InodeRecord,
}

impl<'a> Inode<'a> {
    /// What it is.
    pub fn kind(&self) -> InodeKind {
        InodeKind::of_mode(self.mode()).expect("open() checked the type of every inode")
    }

    /// `st_mode`, type bits included.
    pub fn mode(&self) -> u32 {
        self.record.mode.get()
    }

    /// The owner.
    pub fn uid(&self) -> u32 {
        self.record.uid.get()
    }

    /// The group.
    pub fn gid(&self) -> u32 {
        self.record.gid.get()
    }

    /// The number of names; for a directory 2 and one for each subdirectory.
    pub fn nlink(&self) -> u32 {
        self.record.nlink.get()
    }

    /// The modification time.
    pub fn mtime(&self) -> Timestamp {
        Timestamp { seconds: self.record.mtime_seconds.get(), nanoseconds: self.record.mtime_nanoseconds.get() }
    }

    /// The major and minor number of a device; zeros for others.
    pub fn device(&self) -> (u32, u32) {
        decode_device(self.record.rdev.get())
    }

    /// Bytes of a regular file or of a link's target; 0 for others.
    pub fn size(&self) -> u64 {
        self.record.size.get()
    }

    /// Where a regular file's bytes lie; nothing for an empty file and for others.
    pub fn extent(&self) -> Option<Extent> {
        (self.kind() == InodeKind::Regular && self.size() > 0).then(|| Extent {
            file: self.record.count.get(),
            offset: self.record.data.get(),
            length: self.size(),
        })
    }

    /// The BLAKE3 digest of a regular file that is not empty.
    pub fn content_digest(&self) -> Option<&'a [u8; 32]> {
        let number = self.record.digest.get().checked_sub(1)?;
        let at = 32 * number as usize;
        Some(self.index.section(Section::Digests)[at..at + 32].try_into().expect("a slice of 32 bytes"))
    }

    /// The target of a symbolic link, or the path that a link to a lower layer names; empty for others.
    pub fn link_target(&self) -> &'a [u8] {
        match self.kind() {
            InodeKind::Symlink | InodeKind::Link => {
                let start = self.record.data.get() as usize;
                &self.index.section(Section::Symlinks)[start..start + self.record.count.get() as usize]
            }
            _ => &[],
        }
    }

    /// Whether the directory hides what lower layers have below its path.
    pub fn is_opaque(&self) -> bool {
        self.record.flags.get() & OPAQUE != 0
    }

    /// Whether the layer names the directory only in the paths of its entries.
    pub fn is_implicit(&self) -> bool {
        self.record.flags.get() & IMPLICIT != 0
    }

    /// Whether the directory is there only for markers that the layer names through a link.
    pub fn is_passive(&self) -> bool {
        self.record.flags.get() & PASSIVE != 0
    }

    /// Names and values, sorted by name.
    pub fn xattrs(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let index = self.index;
        let set = self.record.xattrs.get().checked_sub(1);
        let (first, count) = set.map_or((0, 0), |set| {
            let set = &index.records::<XattrSetRecord>(Section::XattrSets)[set as usize];
            (set.first.get() as usize, set.count.get() as usize)
        });
        let bytes = index.section(Section::XattrBytes);
        index.records::<XattrRecord>(Section::Xattrs)[first..first + count].iter().map(move |xattr| {
            let name = xattr.name_offset.get() as usize;
            let value = xattr.value_offset.get() as usize;
            (
                &bytes[name..name + xattr.name_length.get() as usize],
                &bytes[value..value + xattr.value_length.get() as usize],
            )
        })
    }

    /// Whether there is any xattr.
    pub fn has_xattrs(&self) -> bool {
        self.record.xattrs.get() != 0
    }
}

/// Packs a device number as the kernel's 32-bit `new_encode_dev` does; `None` when it does not fit.
pub(crate) fn encode_device(major: u64, minor: u64) -> Option<u32> {
    let (major, minor) = (u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    (major < 1 << 12 && minor < 1 << 20).then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

fn decode_device(rdev: u32) -> (u32, u32) {
    (rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & !0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_round_trip() {
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (259, 256), (4095, 1_048_575)] {
            assert_eq!(decode_device(encode_device(major, minor).unwrap()), (major as u32, minor as u32));
        }
        assert_eq!(encode_device(4096, 0), None);
        assert_eq!(encode_device(0, 1 << 20), None);
    }
}
