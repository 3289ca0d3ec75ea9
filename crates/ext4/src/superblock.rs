//! The superblock and its copies.

use zerocopy::{FromZeros, IntoBytes};

use super::checksum::crc32c;
use super::format::{
    BLOCK, DESCRIPTOR, EXTRA, FIRST_INODE, GROUP, INODE, JOURNAL_INODE, SuperblockRecord, compatible,
    compatible_read_only, incompatible,
};
use super::geometry::{LOG_GROUPS_PER_FLEX, has_superblock};
use super::group::Usage;
use super::htree::HALF_MD4;
use super::identity::Identity;
use super::output::Output;
use crate::Result;

/// `s_flags`: names are hashed as unsigned characters.
const UNSIGNED_HASH: u32 = 2;
/// `s_default_mount_opts`: `user_xattr` and `acl`.
const MOUNT_OPTIONS: u32 = 0xc;

/// Writes the superblock and its copies, each followed by the group descriptors.
pub(super) fn write_superblocks(
    record: &SuperblockRecord,
    descriptors: &[u8],
    groups: u64,
    output: &mut Output<'_>,
) -> Result<()> {
    for group in (0..groups).filter(|&group| has_superblock(group)) {
        let mut record = record.clone();
        record.block_group = (group as u16).into();
        record.checksum = crc32c(!0, &record.as_bytes()[..size_of::<SuperblockRecord>() - 4]).into();
        let block = group * GROUP;
        // The first superblock leaves room for a boot sector.
        let offset = block * BLOCK as u64 + if group == 0 { 1024 } else { 0 };
        output.write_bytes(offset, record.as_bytes())?;
        output.write_block(block + 1, descriptors)?;
    }
    output.flush()
}

/// Returns the superblock without the fields that differ between copies. `journal` holds the extents and the size of
/// the journal, if there is one. `external_values` is true if xattr values have inodes of their own.
pub(super) fn superblock(
    usage: &Usage<'_>,
    external_values: bool,
    identity: &Identity,
    journal: Option<([u8; 60], u64)>,
) -> SuperblockRecord {
    let mut record = SuperblockRecord::new_zeroed();
    let (inodes, free) = (usage.geometry.inodes(), usage.free_blocks());
    record.inodes_count = (inodes as u32).into();
    record.free_inodes_count = ((inodes - usage.last_inode) as u32).into();
    (record.blocks_count_lo, record.blocks_count_hi) =
        ((usage.blocks as u32).into(), ((usage.blocks >> 32) as u32).into());
    (record.free_blocks_count_lo, record.free_blocks_count_hi) = ((free as u32).into(), ((free >> 32) as u32).into());
    record.log_block_size = 2.into();
    record.log_cluster_size = 2.into();
    record.blocks_per_group = (GROUP as u32).into();
    record.clusters_per_group = (GROUP as u32).into();
    record.inodes_per_group = usage.geometry.inodes_per_group.into();
    // Disables checks after a number of mounts. The interval of checks is 0, which disables them too.
    record.max_mount_count = u16::MAX.into();
    record.magic = 0xef53.into();
    // Clean; continue after errors.
    record.state = 1.into();
    record.errors = 1.into();
    record.revision = 1.into();
    record.first_inode = FIRST_INODE.into();
    record.inode_size = (INODE as u16).into();
    record.uuid = identity.uuid;
    record.label = identity.label;
    record.hash_seed = identity.hash_seed.map(Into::into);
    record.hash_version = HALF_MD4;
    record.flags = UNSIGNED_HASH.into();
    record.descriptor_size = (DESCRIPTOR as u16).into();
    record.default_mount_options = MOUNT_OPTIONS.into();
    record.mkfs_time = identity.time.into();
    record.min_extra_isize = (EXTRA as u16).into();
    record.want_extra_isize = (EXTRA as u16).into();
    record.log_groups_per_flex = LOG_GROUPS_PER_FLEX;
    // CRC-32C.
    record.checksum_type = 1;
    set_features(&mut record, external_values, journal.is_some());
    if let Some((block, size)) = journal {
        record.journal_inode = JOURNAL_INODE.into();
        // The backup of the journal's inode: its extents and its size.
        record.journal_backup_type = 1;
        for (place, word) in record.journal_backup.iter_mut().zip(block.as_chunks::<4>().0) {
            *place = u32::from_le_bytes(*word).into();
        }
        record.journal_backup[15] = ((size >> 32) as u32).into();
        record.journal_backup[16] = (size as u32).into();
    }
    record
}

fn set_features(record: &mut SuperblockRecord, external_values: bool, journal: bool) {
    let journal = if journal { compatible::HAS_JOURNAL } else { 0 };
    record.compatible = (journal | compatible::EXT_ATTR | compatible::DIR_INDEX).into();
    // Kernels before 4.13 do not support xattr values in inodes, so the flag is only set if there are any.
    let values = if external_values { incompatible::EA_INODE } else { 0 };
    record.incompatible =
        (values | incompatible::FILETYPE | incompatible::EXTENTS | incompatible::BITS_64 | incompatible::FLEX_BG)
            .into();
    record.compatible_read_only = (compatible_read_only::SPARSE_SUPER
        | compatible_read_only::LARGE_FILE
        | compatible_read_only::HUGE_FILE
        | compatible_read_only::DIR_NLINK
        | compatible_read_only::EXTRA_ISIZE
        | compatible_read_only::METADATA_CSUM)
        .into();
}
