//! Writes the merged root of an image as a disk image that a kernel mounts.
//!
//! Each form is a pure function of the root and its options: no clock, no random numbers, no trace of how many threads
//! wrote it. File contents move by shared blocks where the file system can.

mod acl;
mod contents;
mod crc32c;
mod erofs;
mod error;
mod ext4;
mod identity;
mod lacks;
mod root;
mod squashfs;
mod target;
mod workers;

pub use erofs::{
    ErofsCompression, ErofsDevice, ErofsMeta, ErofsOptions, ErofsReport, MAX_BLOCKS, MAX_DEVICES, VmdkAccess,
    check_vmdk_path, erofs_devices, write_erofs, write_erofs_meta,
};
pub use error::{Error, Result};
pub use ext4::{Ext4Options, Ext4Report, write_ext4};
pub use squashfs::{SquashfsCompression, SquashfsOptions, SquashfsReport, write_squashfs};
