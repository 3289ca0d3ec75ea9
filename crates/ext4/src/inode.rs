//! Inode records.

use vmroot_container_fs::{Device, InodeId, InodeKind, Stat, pack_device};
use zerocopy::{FromZeros, IntoBytes};

use super::checksum::Seed;
use super::format::{EXTRA, FIRST_INODE, INODE, InodeRecord, JOURNAL_INODE, MAX_LINKS, ROOT_INODE};
use super::time::InodeTime;

/// Converts an inode of the root to its number in the file system.
pub(super) fn number_of(ino: InodeId) -> u32 {
    if ino == InodeId::ROOT { ROOT_INODE } else { FIRST_INODE - 1 + ino.0 }
}

/// The fields of an inode other than its attributes.
pub(super) struct Storage {
    /// Extents, the target of a short symlink, or a device number.
    pub(super) block: [u8; 60],
    /// Number of blocks, including those of the extent tree and of xattrs.
    pub(super) blocks: u64,
    /// Size in bytes.
    pub(super) size: u64,
    /// `i_flags`.
    pub(super) flags: u32,
    /// The block of xattrs; 0 if there is none.
    pub(super) xattr_block: u64,
    /// Xattrs stored in the inode.
    pub(super) xattrs: [u8; INODE - 128 - EXTRA],
}

/// Returns the record of an inode of the root.
pub(super) fn record(stat: &Stat, storage: &Storage, seed: Seed) -> InodeRecord {
    let mut record = InodeRecord::new_zeroed();
    record.mode = (stat.mode as u16).into();
    (record.uid_lo, record.uid_hi) = halves(stat.uid);
    (record.gid_lo, record.gid_hi) = halves(stat.gid);
    // A directory with too many subdirectories to count has the link count 1 (`dir_nlink`).
    let uncounted = stat.kind == InodeKind::Directory && stat.nlink > MAX_LINKS;
    record.links = if uncounted { 1 } else { stat.nlink as u16 }.into();
    let time = InodeTime::of(stat.mtime);
    (record.atime, record.atime_extra) = (time.seconds.into(), time.extra.into());
    (record.ctime, record.ctime_extra) = (time.seconds.into(), time.extra.into());
    (record.mtime, record.mtime_extra) = (time.seconds.into(), time.extra.into());
    (record.crtime, record.crtime_extra) = (time.seconds.into(), time.extra.into());
    finish(record, storage, number_of(stat.ino), seed)
}

/// Returns the record of an inode that holds an xattr value. The checksum of the value is stored in a time field and
/// the reference count in the version (`ext4_xattr_inode_set_hash`, `ext4_xattr_inode_set_ref`).
pub(super) fn value_record(number: u32, storage: &Storage, checksum: u32, seed: Seed) -> InodeRecord {
    let mut record = InodeRecord::new_zeroed();
    record.mode = 0o100_600.into();
    record.links = 1.into();
    record.atime = checksum.into();
    record.version_lo = 1.into();
    finish(record, storage, number, seed)
}

/// Returns the record of a directory that belongs to root, with time 0.
pub(super) fn directory_record(number: u32, mode: u16, links: u16, storage: &Storage, seed: Seed) -> InodeRecord {
    let mut record = InodeRecord::new_zeroed();
    record.mode = mode.into();
    record.links = links.into();
    finish(record, storage, number, seed)
}

/// Returns the record of the journal's inode.
pub(super) fn journal_record(storage: &Storage, seed: Seed) -> InodeRecord {
    let mut record = InodeRecord::new_zeroed();
    record.mode = 0o100_600.into();
    record.links = 1.into();
    finish(record, storage, JOURNAL_INODE, seed)
}

fn finish(mut record: InodeRecord, storage: &Storage, number: u32, seed: Seed) -> InodeRecord {
    record.block = storage.block;
    // In units of 512 bytes, 48 bits (`huge_file`).
    let sectors = storage.blocks * 8;
    (record.blocks_lo, record.blocks_hi) = ((sectors as u32).into(), ((sectors >> 32) as u16).into());
    (record.size_lo, record.size_hi) = ((storage.size as u32).into(), ((storage.size >> 32) as u32).into());
    record.flags = storage.flags.into();
    record.xattr_block_lo = (storage.xattr_block as u32).into();
    record.xattr_block_hi = ((storage.xattr_block >> 32) as u16).into();
    record.extra_isize = (EXTRA as u16).into();
    record.xattrs = storage.xattrs;
    let checksum = seed.inode(number).with(record.as_bytes()).value();
    (record.checksum_lo, record.checksum_hi) = halves(checksum);
    record
}

fn halves<T: From<u16>>(value: u32) -> (T, T) {
    ((value as u16).into(), ((value >> 16) as u16).into())
}

/// Returns the `i_block` of a device: its number is in the first word if major and minor have 8 bits, as in old
/// kernels, and in the second word otherwise.
pub(super) fn device_block(device: Device) -> [u8; 60] {
    let Device { major, minor } = device;
    let mut block = [0; 60];
    if major < 256 && minor < 256 {
        block[..4].copy_from_slice(&(major << 8 | minor).to_le_bytes());
    } else {
        block[4..8].copy_from_slice(&pack_device(device).to_le_bytes());
    }
    block
}

impl Default for Storage {
    fn default() -> Self {
        let xattrs = [0; INODE - 128 - EXTRA];
        Self { block: [0; 60], blocks: 0, size: 0, flags: 0, xattr_block: 0, xattrs }
    }
}
