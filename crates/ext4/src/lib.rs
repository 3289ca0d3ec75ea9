//! ext4, the kernel's own read-write file system (kernel documentation, `Documentation/filesystems/ext4`).
//!
//! [`content`] says what needs blocks, [`fit`] how large the file system is and where all of it goes; then [`metadata`]
//! writes inodes and their blocks, [`data`] moves file contents, and [`group`] and [`superblock`] say what is taken.
//!
//! 64-bit block numbers are always on: descriptors then have room for whole checksums of bitmaps, and a file system can
//! be grown past 16 TiB. There is no `resize_inode`: since Linux 3.7 a mounted file system grows without one, by putting
//! new descriptors elsewhere (`meta_bg`), and resize2fs moves what is in the way of one that is not mounted. Neither is
//! there a `lost+found`, which no layer has: e2fsck makes one when it needs it.

mod checksum;
mod content;
mod data;
mod directory;
mod error;
mod extents;
mod fit;
mod format;
mod geometry;
mod group;
mod hash;
mod holes;
mod htree;
mod identity;
mod inode;
mod journal;
mod metadata;
mod output;
mod space;
mod superblock;
mod time;
mod write;
mod xattr;

pub use error::{Error, Result};
pub use write::{Ext4Options, Ext4Report, write_ext4};

/// The form's name in omissions.
const FORM: &str = "ext4";
