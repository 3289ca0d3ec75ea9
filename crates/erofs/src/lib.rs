//! EROFS, the kernel's read-only file system (`Documentation/filesystems/erofs.rst`).
//!
//! Writes the merged root of an image: [`write_erofs`] as one file, [`write_erofs_meta`] as metadata over the layers'
//! contents files, which become devices. Both are one plan ([`plan`]) of the same metadata, and a function of the root
//! and the options: no clock, no random numbers, no trace of how many threads wrote it. File contents move by shared
//! blocks where the file system can.

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
mod packer;
mod plan;
mod superblock;
mod vmdk;
mod xattrs;

pub use compress::ErofsCompression;
pub use error::{Error, Result};
pub use image::{ErofsOptions, ErofsReport, write_erofs};
pub use meta::{ErofsDevice, ErofsMeta, MAX_DEVICES, erofs_devices, write_erofs_meta};
pub use vmdk::{VmdkAccess, check_vmdk_path};

/// The form's name in omissions.
const FORM: &str = "EROFS";

/// The most blocks of an image: their numbers have 32 bits.
pub const MAX_BLOCKS: u32 = u32::MAX;
