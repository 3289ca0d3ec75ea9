//! Writes EROFS images, the kernel's read-only file system (`Documentation/filesystems/erofs.rst`).
//!
//! The input is the merged root of a container image. [`export_erofs`] writes one file. [`export_erofs_meta`] writes only
//! the metadata; the layers' contents files become the devices that hold the data. Both lay out the metadata with the
//! same `plan`. [`write_erofs`] and [`write_erofs_meta`] write to an open file instead of a path.
//!
//! The bytes of an image depend only on the root and the options, not on the time, random numbers or the number of
//! threads. File contents are shared with the contents files (reflinked) where the file system supports it.

mod compress;
mod compressed;
mod data;
mod directory;
mod error;
mod format;
mod image;
mod inode;
mod meta;
mod metadata;
mod options;
mod packer;
mod plan;
mod superblock;
mod vmdk;
mod writer;
mod xattrs;

pub use compress::ErofsCompression;
pub use error::{Error, Result};
pub use image::{export_erofs, write_erofs};
pub use meta::{
    ErofsDevice, ErofsMeta, ErofsMetaFiles, ErofsMetaOptions, MAX_DEVICES, SIDE_FILES, erofs_devices,
    export_erofs_meta, write_erofs_meta,
};
pub use options::ErofsOptions;
pub use vmdk::{VmdkAccess, VmdkTail, check_vmdk_path};

/// The name of the format in omissions.
const FORM: &str = "EROFS";

/// The most blocks that an image can have: block numbers have 32 bits.
pub const MAX_BLOCKS: u32 = u32::MAX;
