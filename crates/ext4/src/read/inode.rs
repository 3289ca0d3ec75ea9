//! Inodes.

use vmroot_container_fs::{Device, InodeKind, Timestamp};
use zerocopy::{FromZeros, IntoBytes};

use super::features::{incompatible, inode_flags};
use super::{Ext4Reader, ReadAt, ReadError, ReadResult};
use crate::checksum::Seed;
use crate::format::InodeRecord;
use crate::time::InodeTime;

/// Bytes of an inode of ext2.
const OLD_SIZE: usize = 128;
/// Offset of the lower and the upper half of the checksum.
const CHECKSUM_LO: usize = 0x7c;
const CHECKSUM_HI: usize = 0x82;
/// Bytes of the fields that this reader knows.
const FIELDS: usize = 0xa0;

/// An inode of a file system.
#[derive(Debug, Clone)]
pub struct Inode {
    number: u32,
    kind: InodeKind,
    size: u64,
    record: InodeRecord,
    /// Bytes of the fields after the first 128 that are in use.
    extra: usize,
    /// The bytes after the fields, which may hold xattrs.
    rest: Vec<u8>,
}

impl Inode {
    /// Decodes the bytes of an inode, which have the size of the file system's inodes.
    pub(crate) fn decode(number: u32, bytes: &[u8], features: u32) -> ReadResult<Self> {
        let damaged = |what: String| ReadError::damaged(format!("inode {number} {what}"));
        let mut record = InodeRecord::new_zeroed();
        let fields = bytes.len().min(FIELDS);
        record.as_mut_bytes()[..fields].copy_from_slice(&bytes[..fields]);
        let extra = if bytes.len() > OLD_SIZE { usize::from(record.extra_isize.get()) } else { 0 };
        if extra > bytes.len() - OLD_SIZE || extra % 4 != 0 {
            return Err(damaged(format!("has {extra} bytes of further fields")));
        }
        // Fields that are not in use hold other data.
        record.as_mut_bytes()[OLD_SIZE + extra.min(FIELDS - OLD_SIZE)..].fill(0);
        let mode = record.mode.get();
        let kind = kind_of(mode).ok_or_else(|| damaged(format!("has the unknown mode {mode:#o}")))?;
        let has_high = kind == InodeKind::Regular || features & incompatible::LARGE_DIRECTORY != 0;
        let high = if has_high { record.size_hi.get() } else { 0 };
        let size = u64::from(record.size_lo) | u64::from(high) << 32;
        if i64::try_from(size).is_err() {
            return Err(damaged(format!("has {size} bytes")));
        }
        // Without further fields, the kernel looks for no xattrs either.
        let rest = if extra == 0 { &[][..] } else { &bytes[OLD_SIZE + extra..] };
        Ok(Self { number, kind, size, record, extra, rest: rest.to_vec() })
    }

    /// Returns the number of the inode.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the kind of the file.
    pub fn kind(&self) -> InodeKind {
        self.kind
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind == InodeKind::Directory
    }

    /// Returns the permission bits, with set-user-ID, set-group-ID and sticky.
    pub fn mode(&self) -> u32 {
        u32::from(self.record.mode.get()) & 0o7777
    }

    /// Returns the owner.
    pub fn uid(&self) -> u32 {
        u32::from(self.record.uid_lo.get()) | u32::from(self.record.uid_hi.get()) << 16
    }

    /// Returns the group.
    pub fn gid(&self) -> u32 {
        u32::from(self.record.gid_lo.get()) | u32::from(self.record.gid_hi.get()) << 16
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the number of names. 1 for a directory with more subdirectories than can be counted.
    pub fn links(&self) -> u16 {
        self.record.links.get()
    }

    /// Returns the time of the last modification.
    pub fn mtime(&self) -> Timestamp {
        InodeTime { seconds: self.record.mtime.get(), extra: self.record.mtime_extra.get() }.decode()
    }

    /// Returns the time of the last change of the inode.
    pub fn ctime(&self) -> Timestamp {
        InodeTime { seconds: self.record.ctime.get(), extra: self.record.ctime_extra.get() }.decode()
    }

    /// Returns the time of the last access.
    pub fn atime(&self) -> Timestamp {
        InodeTime { seconds: self.record.atime.get(), extra: self.record.atime_extra.get() }.decode()
    }

    /// Returns the device number of a device, and 0:0 for other kinds.
    pub fn device(&self) -> Device {
        if !matches!(self.kind, InodeKind::Character | InodeKind::Block) {
            return Device::default();
        }
        let [old, new] = [0, 4].map(|offset| super::volume::u32_at(&self.record.block, offset));
        match old {
            0 => Device { major: (new >> 8) & 0xfff, minor: new & 0xff | (new >> 12) & 0xf_ff00 },
            _ => Device { major: (old >> 8) & 0xff, minor: old & 0xff },
        }
    }

    pub(super) fn has_flag(&self, flag: u32) -> bool {
        self.record.flags.get() & flag != 0
    }

    /// Returns `i_block`: extents, block numbers, inline data, the target of a link or a device number.
    pub(crate) fn block(&self) -> &[u8; 60] {
        &self.record.block
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    pub(super) fn xattr_block(&self) -> u64 {
        u64::from(self.record.xattr_block_lo) | u64::from(self.record.xattr_block_hi.get()) << 32
    }

    /// Returns the seed of the checksums of the inode's blocks.
    pub(super) fn seed(&self, seed: Seed) -> Seed {
        seed.inode_of(self.number, self.record.generation.get())
    }

    /// Refuses an inode whose contents are encrypted.
    pub(super) fn refuse_encrypted(&self) -> ReadResult<()> {
        match self.has_flag(inode_flags::ENCRYPT) {
            true => Err(ReadError::Unsupported(format!("inode {} is encrypted", self.number))),
            false => Ok(()),
        }
    }

    fn check(&self, bytes: &[u8], seed: Seed) -> ReadResult<()> {
        let has_upper_half = self.extra >= 4;
        let mut stored = u32::from(self.record.checksum_lo.get());
        let mut zeroed = bytes.to_vec();
        zeroed[CHECKSUM_LO..CHECKSUM_LO + 2].fill(0);
        if has_upper_half {
            stored |= u32::from(self.record.checksum_hi.get()) << 16;
            zeroed[CHECKSUM_HI..CHECKSUM_HI + 2].fill(0);
        }
        let checksum = self.seed(seed).with(&zeroed).value();
        match checksum == stored || !has_upper_half && checksum & 0xffff == stored {
            true => Ok(()),
            false => Err(ReadError::damaged(format!("the checksum of inode {} is wrong", self.number))),
        }
    }
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Reads an inode in use.
    ///
    /// # Errors
    /// - [`ReadError::Damaged`]: there is no such inode, it is not in use, or its checksum is wrong.
    /// - [`ReadError::Io`]: the disk cannot be read.
    pub fn inode(&self, number: u32) -> ReadResult<Inode> {
        if let Some(bytes) = self.fast.inode(number) {
            return Inode::decode(number, bytes, self.volume.incompatible);
        }
        let bytes = self.inode_bytes(number)?;
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(ReadError::damaged(format!("inode {number} is not in use")));
        }
        let inode = Inode::decode(number, &bytes, self.volume.incompatible)?;
        if let Some(seed) = self.volume.seed {
            inode.check(&bytes, seed)?;
        }
        if inode.links() == 0 {
            return Err(ReadError::damaged(format!("inode {number} is deleted")));
        }
        Ok(inode)
    }

    /// Reads the bytes of an inode as they are on the disk.
    pub(crate) fn inode_bytes(&self, number: u32) -> ReadResult<Vec<u8>> {
        let offset = self.place_of_inode(number)?;
        let mut bytes = vec![0; self.volume.inode_size];
        self.read_bytes(offset, &mut bytes)?;
        Ok(bytes)
    }
}

fn kind_of(mode: u16) -> Option<InodeKind> {
    Some(match mode & 0o170_000 {
        0o010_000 => InodeKind::Fifo,
        0o020_000 => InodeKind::Character,
        0o040_000 => InodeKind::Directory,
        0o060_000 => InodeKind::Block,
        0o100_000 => InodeKind::Regular,
        0o120_000 => InodeKind::Symlink,
        0o140_000 => InodeKind::Socket,
        _ => return None,
    })
}
