//! One inode of an index. [`Index::open`](crate::Index::open) has checked the index, so no access here can fail.

use std::fmt;

use crate::format::{
    IMPLICIT, InodeRecord, KIND_LINK, KIND_WHITEOUT, OPAQUE, PASSIVE, Section, XattrRecord, XattrSetRecord, mode,
};
use crate::open::Index;

/// A point in time, in seconds since the epoch (rounded down) and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// The type of an inode.
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
    /// A hard link to a path of a lower layer. Occurs only in layers.
    Link,
}

impl InodeKind {
    /// Returns the type as directories of ext4 and EROFS store it: `EXT4_FT_*`, which equals `EROFS_FT_*`.
    ///
    /// # Panics
    /// For [`InodeKind::Link`], which does not occur in a root.
    pub fn file_type(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::Character => 3,
            Self::Block => 4,
            Self::Fifo => 5,
            Self::Socket => 6,
            Self::Symlink => 7,
            Self::Link => unreachable!("a root has no links to paths"),
        }
    }

    /// Returns the kind for the type bits of an `st_mode`, or `None` for an unknown type.
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

    /// Returns `DirentRecord::kind` for an inode of this kind: its `DT_*` type, or [`KIND_LINK`].
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

/// The type of a directory entry: an inode of some kind, or a whiteout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirentKind {
    /// A name of an inode of this kind.
    Inode(InodeKind),
    /// A marker that deletes the name from lower layers. Occurs only in layers.
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

/// The place of a file's bytes in a contents file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The position of the contents file in [`Index::contents`].
    pub file: u32,
    /// The offset in the contents file in bytes, a multiple of 4096.
    pub offset: u64,
    /// The length in bytes.
    pub length: u64,
}

/// The number of a device. The default is 0:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Device {
    /// The number of the driver.
    pub major: u32,
    /// The number of the device among those of its driver.
    pub minor: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// One inode of an index.
#[derive(Clone, Copy)]
pub struct Inode<'a> {
    pub(crate) index: &'a Index,
    pub(crate) record: &'a InodeRecord,
}

impl fmt::Debug for Inode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Inode");
        fields.field("kind", &self.kind()).field("mode", &self.mode()).field("size", &self.size());
        fields.finish_non_exhaustive()
    }
}

impl<'a> Inode<'a> {
    /// Returns the type of the inode.
    pub fn kind(&self) -> InodeKind {
        InodeKind::of_mode(self.mode()).expect("open() checked the type of every inode")
    }

    /// Returns `st_mode`: the type bits and the permissions.
    pub fn mode(&self) -> u32 {
        self.record.mode.get()
    }

    /// Returns the user id of the owner.
    pub fn uid(&self) -> u32 {
        self.record.uid.get()
    }

    /// Returns the id of the group.
    pub fn gid(&self) -> u32 {
        self.record.gid.get()
    }

    /// Returns the link count: the number of names, or for a directory 2 plus the number of subdirectories.
    pub fn nlink(&self) -> u32 {
        self.record.nlink.get()
    }

    /// Returns the modification time.
    pub fn mtime(&self) -> Timestamp {
        Timestamp { seconds: self.record.mtime_seconds.get(), nanoseconds: self.record.mtime_nanoseconds.get() }
    }

    /// Returns the number of a device, or zeros for other inodes.
    pub fn device(&self) -> Device {
        decode_device(self.record.rdev.get())
    }

    /// Returns the size in bytes of a regular file or of a link's target, or 0 for other inodes.
    pub fn size(&self) -> u64 {
        self.record.size.get()
    }

    /// Returns the place of a regular file's bytes, or `None` for an empty file and for other inodes.
    pub fn extent(&self) -> Option<Extent> {
        (self.kind() == InodeKind::Regular && self.size() > 0).then(|| Extent {
            file: self.record.count.get(),
            offset: self.record.data.get(),
            length: self.size(),
        })
    }

    /// Returns the BLAKE3 digest of a regular file, or `None` for an empty file and for other inodes.
    pub fn content_digest(&self) -> Option<&'a [u8; 32]> {
        let number = self.record.digest.get().checked_sub(1)?;
        let at = 32 * number as usize;
        Some(self.index.section(Section::Digests)[at..at + 32].try_into().expect("a slice of 32 bytes"))
    }

    /// Returns the target of a symbolic link or of a link to a lower layer, or an empty slice for other inodes.
    pub fn link_target(&self) -> &'a [u8] {
        match self.kind() {
            InodeKind::Symlink | InodeKind::Link => {
                let start = self.record.data.get() as usize;
                &self.index.section(Section::Symlinks)[start..start + self.record.count.get() as usize]
            }
            _ => &[],
        }
    }

    /// Returns whether the directory hides everything that lower layers have below its path.
    pub fn is_opaque(&self) -> bool {
        self.record.flags.get() & OPAQUE != 0
    }

    /// Returns whether the layer has no entry for the directory and only uses it in the paths of other entries.
    pub fn is_implicit(&self) -> bool {
        self.record.flags.get() & IMPLICIT != 0
    }

    /// Returns whether the directory exists only for markers that the layer names through a symbolic link.
    pub fn is_passive(&self) -> bool {
        self.record.flags.get() & PASSIVE != 0
    }

    /// Returns the names and values of the xattrs, sorted by name.
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

    /// Returns whether the inode has any xattr.
    pub fn has_xattrs(&self) -> bool {
        self.record.xattrs.get() != 0
    }
}

/// Packs a device number like [`pack_device`], or returns `None` if it is out of range.
pub(crate) fn encode_device(major: u64, minor: u64) -> Option<u32> {
    let (major, minor) = (u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    (major < 1 << 12 && minor < 1 << 20).then(|| pack_device(Device { major, minor }))
}

/// Packs a device number as the kernel's `new_encode_dev` does.
///
/// Keeps the low 12 bits of the major number and the low 20 bits of the minor number.
pub fn pack_device(Device { major, minor }: Device) -> u32 {
    minor & 0xff | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
}

fn decode_device(rdev: u32) -> Device {
    Device { major: rdev >> 8 & 0xfff, minor: rdev & 0xff | rdev >> 12 & !0xff }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_round_trip() {
        assert_eq!(pack_device(Device { major: 1, minor: 3 }), 0x103);
        assert_eq!(pack_device(Device { major: 259, minor: 0x12345 }), 0x1231_0345);
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (259, 256), (4095, 1_048_575)] {
            let device = Device { major: major as u32, minor: minor as u32 };
            assert_eq!(decode_device(encode_device(major, minor).unwrap()), device);
        }
        assert_eq!(encode_device(4096, 0), None);
        assert_eq!(encode_device(0, 1 << 20), None);
    }
}
