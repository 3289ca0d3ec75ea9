//! Writes the merged root of an image out.
//!
//! [`export_directory`] makes a directory of it, [`export_tar`] a tar, [`export_cpio`] an initramfs: each a walk over a
//! [`ContainerFs`](vmroot_container_fs::ContainerFs) that knows nothing of the layers and tars it came from.
//! [`export_prebaked`] puts the files that a `ContainerFs` is read from into one directory, and [`open_prebaked`] opens
//! them there.

mod cpio;
mod directory;
mod error;
mod prebaked;
mod root;
mod squashfs;
mod stream;
mod tar;

pub use cpio::{CpioOptions, CpioReport, CpioWriter, export_compressed_cpio, export_cpio};
pub use directory::{DirectoryOptions, DirectoryReport, OVERRIDE_STAT, XATTR_PREFIX, export_directory};
pub use error::{Error, Result, going_on};
pub use prebaked::{PrebakedSources, export_prebaked, export_prebaked_while, open_prebaked};
pub use squashfs::{SquashfsCompression, SquashfsOptions, SquashfsReport, write_squashfs};
pub use tar::{
    Archive, Attributes, EntryHeader, TarOptions, TarReader, TarReport, export_compressed_tar, export_tar,
    tar_omissions,
};
