//! EROFS, the kernel's read-only file system (`Documentation/filesystems/erofs.rst`).
//!
//! Both forms are one plan ([`plan`]) of the same metadata. The one-file form ([`image`]) has the contents of files
//! behind it, the metadata-only form ([`meta`]) leaves them in the layers' contents files, which become devices.

mod compress;
mod compressed;
mod data;
mod directory;
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
pub use image::{ErofsOptions, ErofsReport, write_erofs};
pub use meta::{ErofsDevice, ErofsMeta, MAX_DEVICES, erofs_devices, write_erofs_meta};
pub use vmdk::{VmdkAccess, check_vmdk_path};

/// What errors call it.
const FORM: &str = "EROFS";

/// The most blocks of an image: their numbers have 32 bits.
pub const MAX_BLOCKS: u32 = u32::MAX;
