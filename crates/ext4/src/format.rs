//! The records of the disk format (kernel documentation, `Documentation/filesystems/ext4`), little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a block. It has the size of a page, so that a block of a file is a page of the guest's cache.
pub(super) const BLOCK: usize = 4096;
/// Blocks of a group: one bit each in a bitmap of one block.
pub(super) const GROUP: u64 = 8 * BLOCK as u64;
/// Bytes of an inode. Nanoseconds, years past 2038, and 92 bytes of xattrs fit.
pub(super) const INODE: usize = 256;
/// Bytes of an inode's fields after the first 128.
pub(super) const EXTRA: usize = 32;
/// Number of inodes in a block.
pub(super) const INODES_PER_BLOCK: u32 = (BLOCK / INODE) as u32;
/// Bytes of a group descriptor, including the upper halves of 64-bit fields.
pub(super) const DESCRIPTOR: usize = 64;

/// The inode of the root directory.
pub(super) const ROOT_INODE: u32 = 2;
/// The inode of the journal.
pub(super) const JOURNAL_INODE: u32 = 8;
/// The first inode that is not reserved.
pub(super) const FIRST_INODE: u32 = 11;

/// The most names of an inode. A directory with more links has the count 1.
pub(super) const MAX_LINKS: u32 = 65_000;
/// The most blocks of an extent.
pub(super) const MAX_EXTENT: u64 = 32_768;

/// `s_feature_compat`.
pub(super) mod compatible {
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    pub(crate) const EXT_ATTR: u32 = 0x8;
    pub(crate) const RESIZE_INODE: u32 = 0x10;
    pub(crate) const DIR_INDEX: u32 = 0x20;
    pub(crate) const SPARSE_SUPER_2: u32 = 0x200;
}

/// `s_feature_incompat`.
pub(super) mod incompatible {
    pub(crate) const FILETYPE: u32 = 0x2;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const META_BG: u32 = 0x10;
    pub(crate) const EXTENTS: u32 = 0x40;
    pub(crate) const BITS_64: u32 = 0x80;
    pub(crate) const FLEX_BG: u32 = 0x200;
    pub(crate) const EA_INODE: u32 = 0x400;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
}

/// `s_feature_ro_compat`.
pub(super) mod compatible_read_only {
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    pub(crate) const LARGE_FILE: u32 = 0x2;
    pub(crate) const HUGE_FILE: u32 = 0x8;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const BIGALLOC: u32 = 0x200;
    pub(crate) const DIR_NLINK: u32 = 0x20;
    pub(crate) const EXTRA_ISIZE: u32 = 0x40;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
}

/// `s_state`.
pub(super) mod state {
    /// Unmounted cleanly.
    pub(crate) const VALID: u16 = 0x1;
    /// The kernel found errors.
    pub(crate) const ERRORS: u16 = 0x2;
}

/// `i_flags`.
pub(super) mod inode_flags {
    pub(crate) const INDEX: u32 = 0x1000;
    pub(crate) const EXTENTS: u32 = 0x8_0000;
    pub(crate) const EA_INODE: u32 = 0x20_0000;
}

/// `bg_flags`.
pub(super) mod group_flags {
    pub(crate) const INODE_UNINIT: u16 = 0x1;
    pub(crate) const BLOCK_UNINIT: u16 = 0x2;
    pub(crate) const INODE_ZEROED: u16 = 0x4;
}

/// The superblock (`struct ext4_super_block`).
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SuperblockRecord {
    pub(super) inodes_count: U32,
    pub(super) blocks_count_lo: U32,
    pub(super) reserved_blocks_count_lo: U32,
    pub(super) free_blocks_count_lo: U32,
    pub(super) free_inodes_count: U32,
    pub(super) first_data_block: U32,
    pub(super) log_block_size: U32,
    pub(super) log_cluster_size: U32,
    pub(super) blocks_per_group: U32,
    pub(super) clusters_per_group: U32,
    pub(super) inodes_per_group: U32,
    pub(super) mtime: U32,
    pub(super) wtime: U32,
    pub(super) mount_count: U16,
    pub(super) max_mount_count: U16,
    pub(super) magic: U16,
    pub(super) state: U16,
    pub(super) errors: U16,
    pub(super) minor_revision: U16,
    pub(super) last_check: U32,
    pub(super) check_interval: U32,
    pub(super) creator_os: U32,
    pub(super) revision: U32,
    pub(super) default_uid: U16,
    pub(super) default_gid: U16,
    pub(super) first_inode: U32,
    pub(super) inode_size: U16,
    pub(super) block_group: U16,
    pub(super) compatible: U32,
    pub(super) incompatible: U32,
    pub(super) compatible_read_only: U32,
    pub(super) uuid: [u8; 16],
    pub(super) label: [u8; 16],
    pub(super) last_mounted: [u8; 64],
    pub(super) algorithms: U32,
    pub(super) preallocation: [u8; 2],
    pub(super) reserved_descriptor_blocks: U16,
    pub(super) journal_uuid: [u8; 16],
    pub(super) journal_inode: U32,
    pub(super) journal_device: U32,
    pub(super) last_orphan: U32,
    pub(super) hash_seed: [U32; 4],
    pub(super) hash_version: u8,
    pub(super) journal_backup_type: u8,
    pub(super) descriptor_size: U16,
    pub(super) default_mount_options: U32,
    pub(super) first_meta_group: U32,
    pub(super) mkfs_time: U32,
    pub(super) journal_backup: [U32; 17],
    pub(super) blocks_count_hi: U32,
    pub(super) reserved_blocks_count_hi: U32,
    pub(super) free_blocks_count_hi: U32,
    pub(super) min_extra_isize: U16,
    pub(super) want_extra_isize: U16,
    pub(super) flags: U32,
    pub(super) raid_stride: U16,
    pub(super) mmp_interval: U16,
    pub(super) mmp_block: U64,
    pub(super) raid_stripe_width: U32,
    pub(super) log_groups_per_flex: u8,
    pub(super) checksum_type: u8,
    pub(super) unused: [u8; 0x248 - 0x176],
    pub(super) overhead: U32,
    pub(super) backup_groups: [U32; 2],
    pub(super) unused_after_backups: [u8; 0x270 - 0x254],
    pub(super) checksum_seed: U32,
    pub(super) unused_before_growth: [u8; 0x3d4 - 0x274],
    /// Not a field of ext4, but the end of its reserved bytes: a growth that is not complete.
    pub(super) growth: GrowthRecord,
    pub(super) checksum: U32,
}

/// A growth that is not complete, in reserved bytes of the superblock. All bytes are 0 at other times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GrowthRecord {
    pub(super) magic: [u8; 8],
    /// Number of blocks before.
    pub(super) blocks: U64,
    /// The block of the resize inode that is to be freed; 0 if there is none.
    pub(super) resize_block: U64,
    /// The place of the bitmap that is elsewhere while blocks of its group are freed.
    pub(super) bitmap_home: U64,
    /// Number of blocks after the descriptors that were reserved.
    pub(super) reserved_descriptor_blocks: U16,
    /// `s_mnt_count` and the lower 32 bits of `s_mtime` at the beginning.
    pub(super) mount_count: U16,
    pub(super) mount_time: U32,
}

/// A group descriptor (`struct ext4_group_desc`).
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GroupRecord {
    pub(super) block_bitmap_lo: U32,
    pub(super) inode_bitmap_lo: U32,
    pub(super) inode_table_lo: U32,
    pub(super) free_blocks_lo: U16,
    pub(super) free_inodes_lo: U16,
    pub(super) used_directories_lo: U16,
    pub(super) flags: U16,
    pub(super) exclude_bitmap_lo: U32,
    pub(super) block_bitmap_checksum_lo: U16,
    pub(super) inode_bitmap_checksum_lo: U16,
    pub(super) unused_inodes_lo: U16,
    pub(super) checksum: U16,
    pub(super) block_bitmap_hi: U32,
    pub(super) inode_bitmap_hi: U32,
    pub(super) inode_table_hi: U32,
    pub(super) free_blocks_hi: U16,
    pub(super) free_inodes_hi: U16,
    pub(super) used_directories_hi: U16,
    pub(super) unused_inodes_hi: U16,
    pub(super) exclude_bitmap_hi: U32,
    pub(super) block_bitmap_checksum_hi: U16,
    pub(super) inode_bitmap_checksum_hi: U16,
    pub(super) reserved: U32,
}

/// An inode (`struct ext4_inode`) and the room for xattrs after its fields.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct InodeRecord {
    pub(super) mode: U16,
    pub(super) uid_lo: U16,
    pub(super) size_lo: U32,
    pub(super) atime: U32,
    pub(super) ctime: U32,
    pub(super) mtime: U32,
    pub(super) dtime: U32,
    pub(super) gid_lo: U16,
    pub(super) links: U16,
    pub(super) blocks_lo: U32,
    pub(super) flags: U32,
    pub(super) version_lo: U32,
    pub(super) block: [u8; 60],
    pub(super) generation: U32,
    pub(super) xattr_block_lo: U32,
    pub(super) size_hi: U32,
    pub(super) fragment: U32,
    pub(super) blocks_hi: U16,
    pub(super) xattr_block_hi: U16,
    pub(super) uid_hi: U16,
    pub(super) gid_hi: U16,
    pub(super) checksum_lo: U16,
    pub(super) reserved: U16,
    pub(super) extra_isize: U16,
    pub(super) checksum_hi: U16,
    pub(super) ctime_extra: U32,
    pub(super) mtime_extra: U32,
    pub(super) atime_extra: U32,
    pub(super) crtime: U32,
    pub(super) crtime_extra: U32,
    pub(super) version_hi: U32,
    pub(super) project: U32,
    pub(super) xattrs: [u8; INODE - 128 - EXTRA],
}

const _: () = assert!(size_of::<SuperblockRecord>() == 1024);
const _: () = assert!(size_of::<GrowthRecord>() == 40);
const _: () = assert!(size_of::<GroupRecord>() == DESCRIPTOR);
const _: () = assert!(size_of::<InodeRecord>() == INODE);
