//! The layout of an index file, as `docs/formats/idx.md` specifies it.
//!
//! Every integer is little-endian. Every record has a fixed size. The number of a record is its position in its
//! section. A test compares this file with the document.

use std::mem::size_of;

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first bytes of every index.
pub const MAGIC: [u8; 8] = *b"vmroot\0i";

/// The major version. Readers refuse other major versions. It is also part of the directory's name in the cache.
pub const MAJOR: u16 = 1;

/// The minor version. It counts additions that an older reader may ignore, so readers accept any minor version.
pub const MINOR: u16 = 1;

/// The alignment of file contents in `.contents`, in bytes. The length of `.contents` is a multiple of it.
pub const ALIGNMENT: u64 = 4096;

/// The alignment of sections in bytes.
pub const SECTION_ALIGNMENT: u64 = 8;

/// The longest name of a directory entry in bytes (`NAME_MAX`).
pub const MAX_NAME: usize = 255;

/// The longest target of a symbolic link in bytes (`PATH_MAX` less its NUL).
pub const MAX_SYMLINK: usize = 4095;

/// The longest name of an xattr in bytes (`XATTR_NAME_MAX`).
pub const MAX_XATTR_NAME: usize = 255;
/// The longest value of an xattr in bytes (`XATTR_SIZE_MAX`).
pub const MAX_XATTR_VALUE: usize = 65536;

/// `Header::kind` of the index of one layer. It may hold whiteouts, opaque and implied directories, and links to paths.
pub const KIND_LAYER: u32 = 1;
/// `Header::kind` of a merged root. It has one contents file for each layer, and no layer-only records.
pub const KIND_ROOT: u32 = 2;

/// `Header::identity_algorithm` and `ContentsRecord::algorithm` for SHA-256.
pub const SHA256: u32 = 1;
/// `Header::identity_algorithm` and `ContentsRecord::algorithm` for SHA-512.
pub const SHA512: u32 = 2;

/// The sections, in their order in the file and in its section table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// [`InodeRecord`]s; number 0 is the root directory.
    Inodes = 0,
    /// [`DirentRecord`]s, the children of a directory in one run.
    Dirents = 1,
    /// The bytes of names.
    Names = 2,
    /// The bytes of symbolic link targets, and of the paths of links to lower layers.
    Symlinks = 3,
    /// [`XattrSetRecord`]s, each the xattrs of one or more inodes.
    XattrSets = 4,
    /// [`XattrRecord`]s, the members of a set in one run.
    Xattrs = 5,
    /// The bytes of xattr names and values.
    XattrBytes = 6,
    /// BLAKE3 digests of file contents, 32 bytes each.
    Digests = 7,
    /// [`ContentsRecord`]s: the `.contents` files that extents lie in.
    Contents = 8,
}

/// The number of sections.
pub const SECTIONS: usize = 9;

impl Section {
    /// All sections, in order.
    pub const ALL: [Self; SECTIONS] = [
        Self::Inodes,
        Self::Dirents,
        Self::Names,
        Self::Symlinks,
        Self::XattrSets,
        Self::Xattrs,
        Self::XattrBytes,
        Self::Digests,
        Self::Contents,
    ];

    /// Returns the size of one record in bytes.
    pub const fn stride(self) -> usize {
        match self {
            Self::Inodes => size_of::<InodeRecord>(),
            Self::Dirents => size_of::<DirentRecord>(),
            Self::XattrSets => size_of::<XattrSetRecord>(),
            Self::Xattrs => size_of::<XattrRecord>(),
            Self::Digests => 32,
            Self::Contents => size_of::<ContentsRecord>(),
            Self::Names | Self::Symlinks | Self::XattrBytes => 1,
        }
    }

    /// Returns the name of the section in error messages and in the format document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inodes => "INODES",
            Self::Dirents => "DIRENTS",
            Self::Names => "NAMES",
            Self::Symlinks => "SYMLINKS",
            Self::XattrSets => "XATTR SETS",
            Self::Xattrs => "XATTRS",
            Self::XattrBytes => "XATTR BYTES",
            Self::Digests => "DIGESTS",
            Self::Contents => "TABLE OF CONTENTS FILES",
        }
    }
}

/// The first 344 bytes of an index.
#[derive(Debug, Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`MAJOR`].
    pub major: U16,
    /// [`MINOR`].
    pub minor: U16,
    /// [`KIND_LAYER`] or [`KIND_ROOT`].
    pub kind: U32,
    /// The length of the whole file in bytes.
    pub file_length: U64,
    /// CRC-32 (IEEE) of the whole file with this field zero.
    pub checksum: U32,
    /// [`ALIGNMENT`].
    pub alignment: U32,
    /// [`SHA256`] or [`SHA512`].
    pub identity_algorithm: U32,
    /// [`SECTIONS`].
    pub section_count: U32,
    /// The layer's diff id or the root's chain id, zero padded.
    pub identity: [u8; 64],
    /// Zero.
    pub reserved: [u8; 24],
    /// The place of each section, in the order of [`Section`].
    pub sections: [SectionRecord; SECTIONS],
}

/// The place of one section in the file.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SectionRecord {
    /// The offset from the start of the file in bytes, a multiple of [`SECTION_ALIGNMENT`].
    pub offset: U64,
    /// The length in bytes, a multiple of `stride`.
    pub length: U64,
    /// The size of one record in bytes.
    pub stride: U32,
    /// The position in [`Section::ALL`].
    pub id: U32,
}

/// One inode, 64 bytes. The meaning of `data` and `count` depends on the type in `mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct InodeRecord {
    /// `st_mode`: type and permissions. A type of 0 is a link to a path of a lower layer.
    pub mode: U32,
    /// Owner.
    pub uid: U32,
    /// Group.
    pub gid: U32,
    /// Directories: 2 and one for each subdirectory. Others: the number of dirents that name the inode.
    pub nlink: U32,
    /// Modification time, whole seconds since the epoch, rounded down.
    pub mtime_seconds: I64,
    /// The rest of the modification time, 0 to 999,999,999.
    pub mtime_nanoseconds: U32,
    /// Devices: `minor & 0xff | major << 8 | (minor & !0xff) << 12`. Others: 0.
    pub rdev: U32,
    /// Regular files: bytes. Symbolic links: bytes of the target. Others: 0.
    pub size: U64,
    /// Regular files: offset in the contents file. Directories: first dirent. Links: offset in SYMLINKS. Others: 0.
    pub data: U64,
    /// Regular files: number of the contents file. Directories: number of dirents. Links: bytes of the target.
    pub count: U32,
    /// 1 + number of the xattr set; 0 for none.
    pub xattrs: U32,
    /// 1 + number of the digest, for regular files that are not empty; 0 otherwise.
    pub digest: U32,
    /// [`OPAQUE`], [`IMPLICIT`] and [`PASSIVE`], on directories of layers.
    pub flags: U32,
}

/// Flag of a directory that hides everything that lower layers have below its path.
pub const OPAQUE: u32 = 1;
/// Flag of a directory that the layer has no entry for and only uses in the paths of other entries. The attributes of a
/// lower layer apply.
pub const IMPLICIT: u32 = 2;

/// Flag of a directory that exists only for markers that the layer names through a symbolic link. It changes a
/// directory of lower layers, and does not create one.
pub const PASSIVE: u32 = 4;

/// One directory entry, 16 bytes.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DirentRecord {
    /// Offset in NAMES.
    pub name_offset: U32,
    /// Number of the inode; [`NO_INODE`] for a whiteout.
    pub inode: U32,
    /// The first four bytes of the name, zero padded. Most comparisons only need the prefix.
    pub prefix: [u8; 4],
    /// The length of the name in bytes, 1 to [`MAX_NAME`].
    pub name_length: U16,
    /// The inode's `DT_*` type, [`KIND_WHITEOUT`] or [`KIND_LINK`].
    pub kind: u8,
    /// Zero.
    pub reserved: u8,
}

/// `DirentRecord::inode` of a whiteout.
pub const NO_INODE: u32 = u32::MAX;
/// `DirentRecord::kind` of a whiteout.
pub const KIND_WHITEOUT: u8 = 0xf0;
/// `DirentRecord::kind` of a hard link to a path of a lower layer.
pub const KIND_LINK: u8 = 0xf1;

/// A run of [`XattrRecord`]s.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct XattrSetRecord {
    /// The number of the first record.
    pub first: U32,
    /// The number of records, at least 1. They are sorted by name.
    pub count: U32,
}

/// One xattr.
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct XattrRecord {
    /// Offset of the name in XATTR BYTES.
    pub name_offset: U32,
    /// The length of the name in bytes, 1 to [`MAX_XATTR_NAME`].
    pub name_length: U32,
    /// Offset of the value in XATTR BYTES.
    pub value_offset: U32,
    /// The length of the value in bytes, 0 to [`MAX_XATTR_VALUE`].
    pub value_length: U32,
}

/// One `.contents` file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ContentsRecord {
    /// The diff id of the layer, zero padded.
    pub diff_id: [u8; 64],
    /// [`SHA256`] or [`SHA512`].
    pub algorithm: U32,
    /// Zero.
    pub reserved: U32,
    /// The file's length in bytes, a multiple of [`ALIGNMENT`].
    pub length: U64,
}

/// The file types in `mode` (`<sys/stat.h>`).
pub mod mode {
    /// The mask of the bits that hold the type.
    pub const TYPE: u32 = 0o170000;
    /// Regular file.
    pub const REGULAR: u32 = 0o100000;
    /// Directory.
    pub const DIRECTORY: u32 = 0o040000;
    /// Symbolic link.
    pub const SYMLINK: u32 = 0o120000;
    /// Character device.
    pub const CHARACTER: u32 = 0o020000;
    /// Block device.
    pub const BLOCK: u32 = 0o060000;
    /// Named pipe.
    pub const FIFO: u32 = 0o010000;
    /// Socket.
    pub const SOCKET: u32 = 0o140000;
    /// Hard link to a path of a lower layer; not a type of `<sys/stat.h>`.
    pub const LINK: u32 = 0;
}

const _: () = {
    assert!(size_of::<Header>() == 344);
    assert!(size_of::<InodeRecord>() == 64);
    assert!(size_of::<DirentRecord>() == 16);
    assert!(size_of::<ContentsRecord>() == 80);
};
