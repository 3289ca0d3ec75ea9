//! The layout of an EROFS image (the kernel's `fs/erofs/erofs_fs.h`). Every integer is little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Error, MAX_BLOCKS, Result};

/// Bytes of a block, and of a directory block.
pub(crate) const BLOCK: u64 = 4096;
/// The same, as a power of two.
pub(crate) const BLOCK_BITS: u8 = 12;
/// Inodes start on multiples of this many bytes; their number (nid) counts them from the start of the image.
pub(crate) const SLOT: u64 = 32;

/// Offset of the superblock in bytes.
pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;
/// The first bytes of the superblock.
pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;

/// The superblock has a checksum.
pub(crate) const COMPAT_CHECKSUM: u32 = 0x1;
/// The times of inodes are modification times.
pub(crate) const COMPAT_MTIME: u32 = 0x2;
/// Compressed blocks hold their code at the end, after zeros.
pub(crate) const INCOMPAT_ZERO_PADDING: u32 = 0x1;
/// Configurations of the compression algorithms follow the superblock, and extents may have several blocks.
pub(crate) const INCOMPAT_COMPRESSION_CONFIGS: u32 = 0x2;
/// The image has a device table.
pub(crate) const INCOMPAT_DEVICE_TABLE: u32 = 0x8;

/// The description of the image, 128 bytes.
#[derive(Debug, Clone, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Superblock {
    /// [`MAGIC`].
    pub(crate) magic: U32,
    /// CRC-32C, not inverted, from here to the end of the block with this field zero.
    pub(crate) checksum: U32,
    /// Features that a reader may ignore.
    pub(crate) feature_compat: U32,
    /// [`BLOCK_BITS`].
    pub(crate) block_bits: u8,
    /// Number of further 16-byte parts of the superblock.
    pub(crate) extension_slots: u8,
    /// Nid of the root directory.
    pub(crate) root_nid: U16,
    /// The number of inodes.
    pub(crate) inodes: U64,
    /// Modification time of compact inodes: seconds since 1970.
    pub(crate) epoch: U64,
    /// Modification time of compact inodes: nanoseconds.
    pub(crate) epoch_nanoseconds: U32,
    /// Blocks of the image; of the primary device if there are several.
    pub(crate) blocks: U32,
    /// Block from which nids count.
    pub(crate) meta_block: U32,
    /// Block from which the ids of shared xattrs count, in units of 4 bytes. Both blocks are equal.
    pub(crate) xattr_block: U32,
    /// UUID of the image.
    pub(crate) uuid: [u8; 16],
    /// Label.
    pub(crate) volume_name: [u8; 16],
    /// Features that a reader must know.
    pub(crate) feature_incompat: U32,
    /// Compression algorithms, or the window of LZ4.
    pub(crate) compression: U16,
    /// Number of devices besides the primary one.
    pub(crate) extra_devices: U16,
    /// Offset of the device table, in units of its records.
    pub(crate) device_table: U16,
    /// Size of directory blocks, as a power of two relative to blocks.
    pub(crate) directory_block_bits: u8,
    /// Number of long prefixes of xattr names.
    pub(crate) xattr_prefixes: u8,
    /// Offset of the long prefixes.
    pub(crate) xattr_prefix_start: U32,
    /// Nid of the inode that holds fragments.
    pub(crate) packed_nid: U64,
    /// Zero: no xattr filter.
    pub(crate) xattr_filter: u8,
    /// Zero.
    pub(crate) reserved: [u8; 23],
}

/// A device besides the primary one, 128 bytes.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct DeviceSlot {
    /// Digest of the device's contents.
    pub(crate) tag: [u8; 64],
    /// Number of blocks.
    pub(crate) blocks: U32,
    /// The device's first block in the addresses of the whole image.
    pub(crate) mapped_block: U32,
    /// Zero.
    pub(crate) reserved: [u8; 56],
}

/// `i_format` of an extended inode; the data layout is shifted by one.
pub(crate) const FORMAT_EXTENDED: u16 = 1;
/// Data in whole blocks.
pub(crate) const LAYOUT_PLAIN: u16 = 0;
/// Data in whole blocks, except for the last part, which follows the inode and its xattrs.
pub(crate) const LAYOUT_INLINE: u16 = 2;
/// Compressed data, with packed indexes after the inode and its xattrs.
pub(crate) const LAYOUT_COMPRESSED: u16 = 3;

/// The short form of an inode, 32 bytes.
#[derive(Debug, Clone, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct CompactInode {
    /// Version and data layout.
    pub(crate) format: U16,
    /// Size of the xattrs: 0, or 12 + 4 * (n - 1) bytes.
    pub(crate) xattr_count: U16,
    /// `st_mode`.
    pub(crate) mode: U16,
    /// Number of names.
    pub(crate) nlink: U16,
    /// Size in bytes.
    pub(crate) size: U32,
    /// Zero: seconds since the epoch of the superblock.
    pub(crate) mtime: U32,
    /// First block of the data, blocks of compressed data, or device number.
    pub(crate) data: U32,
    /// Inode number that `stat(2)` returns on 32-bit machines.
    pub(crate) number: U32,
    /// Owner.
    pub(crate) uid: U16,
    /// Group.
    pub(crate) gid: U16,
    /// Zero.
    pub(crate) reserved: U32,
}

/// The long form of an inode, 64 bytes.
#[derive(Debug, Clone, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct ExtendedInode {
    /// Version and data layout.
    pub(crate) format: U16,
    /// Size of the xattrs: 0, or 12 + 4 * (n - 1) bytes.
    pub(crate) xattr_count: U16,
    /// `st_mode`.
    pub(crate) mode: U16,
    /// Zero.
    pub(crate) reserved: U16,
    /// Size in bytes.
    pub(crate) size: U64,
    /// First block of the data, blocks of compressed data, or device number.
    pub(crate) data: U32,
    /// Inode number that `stat(2)` returns on 32-bit machines.
    pub(crate) number: U32,
    /// Owner.
    pub(crate) uid: U32,
    /// Group.
    pub(crate) gid: U32,
    /// Seconds since 1970, signed.
    pub(crate) mtime: U64,
    /// Nanoseconds of the modification time.
    pub(crate) mtime_nanoseconds: U32,
    /// Number of names.
    pub(crate) nlink: U32,
    /// Zero.
    pub(crate) reserved2: [u8; 16],
}

/// The header of an inode's xattrs, 12 bytes. The ids of shared xattrs follow, then the inode's own xattrs.
#[derive(Debug, Clone, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct XattrHeader {
    /// Zero: readers ignore it without the feature.
    pub(crate) name_filter: U32,
    /// Number of shared xattrs.
    pub(crate) shared_count: u8,
    /// Zero.
    pub(crate) reserved: [u8; 7],
}

/// The header of an xattr, 4 bytes. Name and value follow, and zeros up to a multiple of 4.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct XattrEntry {
    /// Bytes of the name after its prefix.
    pub(crate) name_length: u8,
    /// Number of the prefix.
    pub(crate) prefix: u8,
    /// Bytes of the value.
    pub(crate) value_length: U16,
}

/// The header of a compressed file's indexes, 8 bytes.
#[derive(Debug, Clone, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct MapHeader {
    /// Zero.
    pub(crate) reserved: U16,
    /// Bytes of the last extent, if it follows the indexes.
    pub(crate) inline_size: U16,
    /// Flags of the indexes.
    pub(crate) advise: U16,
    /// Numbers of the algorithms of the two kinds of extents, four bits each.
    pub(crate) algorithms: u8,
    /// Bytes of the file for each index, as a power of two relative to blocks.
    pub(crate) cluster_bits: u8,
}

/// The configuration of Zstandard, 8 bytes.
#[derive(Debug, Clone, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct ZstdConfig {
    /// Number of bytes that follow: 6.
    pub(crate) size: U16,
    /// Zero: frames with their magic number.
    pub(crate) format: u8,
    /// Memory that a reader needs, as a power of two relative to 1024.
    pub(crate) window_bits: u8,
    /// Zero.
    pub(crate) reserved: [u8; 4],
}

/// A directory entry, 12 bytes. A block holds its entries, sorted by name, and then their names.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Dirent {
    /// Nid of the inode.
    pub(crate) nid: U64,
    /// Offset of the name in the block.
    pub(crate) name_offset: U16,
    /// `EROFS_FT_*`.
    pub(crate) kind: u8,
    /// Zero.
    pub(crate) reserved: u8,
}

const _: () = {
    assert!(size_of::<Superblock>() == 128);
    assert!(size_of::<DeviceSlot>() == 128);
    assert!(size_of::<CompactInode>() == 32);
    assert!(size_of::<ExtendedInode>() == 64);
    assert!(size_of::<XattrHeader>() == 12);
    assert!(size_of::<XattrEntry>() == 4);
    assert!(size_of::<MapHeader>() == 8);
    assert!(size_of::<ZstdConfig>() == 8);
    assert!(size_of::<Dirent>() == 12);
};

/// Converts a number of blocks to 32 bits.
///
/// # Errors
/// [`Error::TooLarge`] if it has more.
pub(crate) fn check_blocks(blocks: u64) -> Result<u32> {
    let too_large = |_| {
        let what = format!("{blocks} blocks of {BLOCK} bytes, the limit is {MAX_BLOCKS} (16 TiB)");
        Error::TooLarge { what }
    };
    u32::try_from(blocks).map_err(too_large)
}
