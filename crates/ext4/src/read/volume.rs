//! The superblock of a file system that is read.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32};

use super::features::{incompatible, read_only};
use super::{ReadAt, ReadError, ReadOptions, ReadResult};
use crate::checksum::{Seed, crc32c};
use crate::format::{GroupRecord, SuperblockRecord};

/// Offset of the superblock in bytes.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;

/// Offset of `s_backup_bgs`: the two groups with copies of the superblock (`sparse_super2`).
const BACKUP_GROUPS: usize = 0x24c;
/// Offset of `s_checksum_seed`.
const CHECKSUM_SEED: usize = 0x270;
/// Offset of `s_orphan_file_inum`.
const ORPHAN_INODE: usize = 0x280;

/// The shape of a file system, from a superblock whose numbers were checked.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    /// Bytes of a block: a power of two from 1 KiB to 64 KiB.
    pub(crate) block_size: usize,
    /// Blocks of the file system. They are all within the disk.
    pub(crate) blocks: u64,
    /// The block of the superblock: 1 if blocks have 1 KiB, else 0. The first group begins here.
    pub(crate) first_block: u64,
    /// Blocks of a group.
    pub(crate) blocks_per_group: u64,
    pub(crate) groups: u64,
    /// Blocks of a cluster, the unit of allocation. 1 without `bigalloc`.
    pub(crate) blocks_per_cluster: u64,
    pub(crate) inodes: u32,
    pub(crate) inodes_per_group: u32,
    /// Bytes of an inode: a power of two from 128 to the size of a block.
    pub(crate) inode_size: usize,
    /// The first inode that is not reserved.
    pub(crate) first_inode: u32,
    /// Bytes of a group descriptor.
    pub(crate) descriptor_size: usize,
    pub(crate) compatible: u32,
    pub(crate) incompatible: u32,
    pub(crate) read_only: u32,
    pub(crate) first_meta_group: u64,
    backup_groups: [u64; 2],
    /// The file of inodes without names that are open (`orphan_file`). 0 without one.
    pub(crate) orphan_inode: u32,
    /// The inode of the journal. 0 without one.
    pub(crate) journal_inode: u32,
    pub(crate) uuid: [u8; 16],
    /// The start of all checksums, if there are any and they are verified.
    pub(crate) seed: Option<Seed>,
}

impl Volume {
    /// Reads and checks the superblock.
    pub(crate) fn read(disk: &impl ReadAt, options: &ReadOptions) -> ReadResult<Self> {
        let io = |source| ReadError::Io { offset: SUPERBLOCK_OFFSET, source };
        let length = disk.length().map_err(io)?;
        let mut bytes = [0; size_of::<SuperblockRecord>()];
        if length < SUPERBLOCK_OFFSET + bytes.len() as u64 {
            return Err(ReadError::NotExt4);
        }
        disk.read_exact_at(&mut bytes, SUPERBLOCK_OFFSET).map_err(io)?;
        let record = SuperblockRecord::ref_from_bytes(&bytes).expect("the buffer has the size of a superblock");
        if record.magic.get() != 0xef53 {
            return Err(ReadError::NotExt4);
        }
        check_features(record)?;
        let has_checksums = record.compatible_read_only.get() & read_only::METADATA_CSUM != 0;
        let seed = match record.incompatible.get() & incompatible::CHECKSUM_SEED {
            0 => Seed::of(&record.uuid),
            _ => Seed::starting_with(u32_at(&bytes, CHECKSUM_SEED)),
        };
        if has_checksums && options.checksums && crc32c(!0, &bytes[..bytes.len() - 4]) != record.checksum.get() {
            return Err(ReadError::damaged("the checksum of the superblock is wrong"));
        }
        let backup_groups = [BACKUP_GROUPS, BACKUP_GROUPS + 4].map(|offset| u32_at(&bytes, offset).into());
        let seed = (has_checksums && options.checksums).then_some(seed);
        let volume = Self::check(record, backup_groups, seed, length)?;
        Ok(Self { orphan_inode: u32_at(&bytes, ORPHAN_INODE), ..volume })
    }

    fn check(record: &SuperblockRecord, backup_groups: [u64; 2], seed: Option<Seed>, length: u64) -> ReadResult<Self> {
        let invalid = |what: &str| ReadError::damaged(format!("the superblock has an invalid {what}"));
        let log_block_size = record.log_block_size.get();
        if log_block_size > 6 {
            return Err(invalid("size of blocks"));
        }
        let block_size = 1024_usize << log_block_size;
        let has_64_bits = record.incompatible.get() & incompatible::BITS_64 != 0;
        let high = if has_64_bits { record.blocks_count_hi.get() } else { 0 };
        let blocks = u64::from(record.blocks_count_lo) | u64::from(high) << 32;
        let first_block = u64::from(block_size == 1024);
        if blocks.checked_mul(block_size as u64).is_none_or(|bytes| bytes > length) {
            let has = length / block_size as u64;
            return Err(ReadError::damaged(format!("it has {blocks} blocks, and the disk has room for {has}")));
        }
        let is_new = record.revision.get() > 0;
        let inode_size = if is_new { usize::from(record.inode_size.get()) } else { 128 };
        if !inode_size.is_power_of_two() || !(128..=block_size).contains(&inode_size) {
            return Err(invalid("size of inodes"));
        }
        let descriptor_size = if has_64_bits { usize::from(record.descriptor_size.get()) } else { 32 };
        let is_possible = descriptor_size.is_power_of_two() && (32..=1024).contains(&descriptor_size);
        if !is_possible || has_64_bits && descriptor_size < size_of::<GroupRecord>() {
            return Err(invalid("size of group descriptors"));
        }
        let blocks_per_group = u64::from(record.blocks_per_group);
        let inodes_per_group = record.inodes_per_group.get();
        let has_clusters = record.compatible_read_only.get() & read_only::BIGALLOC != 0;
        let log_cluster = if has_clusters { record.log_cluster_size.get().wrapping_sub(log_block_size) } else { 0 };
        if log_cluster > 16 {
            return Err(invalid("size of clusters"));
        }
        let blocks_per_cluster = 1_u64 << log_cluster;
        let most_blocks = 8 * block_size as u64 * blocks_per_cluster;
        if !(1..=most_blocks).contains(&blocks_per_group) {
            return Err(invalid("number of blocks of a group"));
        }
        if !(1..=8 * block_size as u64).contains(&inodes_per_group.into()) {
            return Err(invalid("number of inodes of a group"));
        }
        let first_data_block = u64::from(record.first_data_block);
        if first_data_block > first_block || blocks <= first_data_block {
            return Err(invalid("first block"));
        }
        let groups = (blocks - first_data_block).div_ceil(blocks_per_group);
        if groups.checked_mul(inodes_per_group.into()) != Some(record.inodes_count.get().into()) {
            return Err(invalid("number of inodes"));
        }
        Ok(Self {
            block_size,
            blocks,
            first_block: first_data_block,
            blocks_per_group,
            groups,
            blocks_per_cluster,
            inodes: record.inodes_count.get(),
            inodes_per_group,
            inode_size,
            first_inode: if is_new { record.first_inode.get() } else { 11 },
            descriptor_size,
            compatible: record.compatible.get(),
            incompatible: record.incompatible.get(),
            read_only: record.compatible_read_only.get(),
            first_meta_group: record.first_meta_group.get().into(),
            backup_groups,
            orphan_inode: 0,
            journal_inode: record.journal_inode.get(),
            uuid: record.uuid,
            seed,
        })
    }

    pub(crate) fn needs_replay(&self) -> bool {
        self.has_journal() && self.incompatible & incompatible::RECOVER != 0
    }

    pub(crate) fn has_journal(&self) -> bool {
        self.compatible & read_only::HAS_JOURNAL != 0
    }

    /// Returns whether a group begins with a copy of the superblock.
    pub(crate) fn has_superblock(&self, group: u64) -> bool {
        if self.compatible & read_only::SPARSE_SUPER2 != 0 {
            return group == 0 || self.backup_groups.contains(&group);
        }
        self.read_only & read_only::SPARSE_SUPER == 0 || crate::geometry::has_superblock(group)
    }

    /// Checks that blocks belong to the file system. `what` is their use, for messages.
    pub(crate) fn check_blocks(&self, first: u64, count: u64, what: &str) -> ReadResult<()> {
        match first >= self.first_block && first.checked_add(count).is_some_and(|end| end <= self.blocks) {
            true => Ok(()),
            false => Err(ReadError::damaged(format!("{what} has the block {first}, which does not exist"))),
        }
    }
}

/// Refuses features that change the format in a way that this reader does not know.
fn check_features(record: &SuperblockRecord) -> ReadResult<()> {
    let features = record.incompatible.get();
    let named = [
        (incompatible::COMPRESSION, "compression"),
        (incompatible::JOURNAL_DEVICE, "journal_dev (the disk is the journal of another file system)"),
        (incompatible::DIRDATA, "dirdata"),
    ];
    let mut names: Vec<String> =
        named.iter().filter(|(bit, _)| features & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let known = named.iter().fold(incompatible::READ, |known, (bit, _)| known | bit);
    if features & !known != 0 {
        names.push(format!("the incompatible bits {:#x}", features & !known));
    }
    if !names.is_empty() {
        return Err(ReadError::Unsupported(format!(
            "the file system has features that cannot be read: {}",
            names.join(", ")
        )));
    }
    let has_journal = record.compatible.get() & read_only::HAS_JOURNAL != 0;
    if has_journal && record.journal_inode.get() == 0 {
        let why = "the journal of the file system is on another device";
        return Err(ReadError::Unsupported(why.to_owned()));
    }
    Ok(())
}

/// Returns a number of 32 bits at an offset that lies within the bytes.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    U32::read_from_prefix(&bytes[offset..]).expect("the caller has checked the offset").0.get()
}

/// Returns a number of 16 bits at an offset that lies within the bytes.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    U16::read_from_prefix(&bytes[offset..]).expect("the caller has checked the offset").0.get()
}
