//! Exporting the merged root of an image.
//!
//! [`export_directory`] writes a directory, [`export_tar`] a tar, [`export_cpio`] an initramfs and [`write_squashfs`] a
//! squashfs. They read any [`ContainerFs`](vmroot_container_fs::ContainerFs). [`export_prebaked`] copies the files of a
//! `ContainerFs` to one directory, and [`open_prebaked`] opens them there.

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
pub use error::{Error, Result, check_flow};
pub use prebaked::{PrebakedSources, export_prebaked, export_prebaked_while, open_prebaked};
pub use squashfs::{SquashfsCompression, SquashfsOptions, SquashfsReport, write_squashfs};
pub use tar::{
    Archive, Attributes, EntryHeader, TarOptions, TarReader, TarReport, export_compressed_tar, export_tar,
    tar_omissions,
};
