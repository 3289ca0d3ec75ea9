//! Writes a root as the image of a disk: EROFS, ext4 or squashfs.
//!
//! The file appears under its name only when it is complete: a program that ends earlier leaves nothing. The crates of
//! the formats have further functions, such as one that writes to an open file.
//!
//! ```no_run
#![doc = include_str!("../examples/erofs.rs")]
//! ```

use std::path::Path;

#[cfg(feature = "erofs")]
use vmroot_erofs::{ErofsOptions, export_erofs};
use vmroot_export::{SquashfsOptions, export_squashfs};
#[cfg(feature = "ext4")]
use vmroot_ext4::{Ext4Options, export_ext4};
use vmroot_output::Report;

use crate::{ContainerFs, Result};

/// The file system of a disk image, with its options.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum FileSystem<'a> {
    /// EROFS: read-only, and mounted by Linux 5.4 and later. Images are made without another program.
    #[cfg(feature = "erofs")]
    Erofs(ErofsOptions<'a>),
    /// ext4: writable.
    #[cfg(feature = "ext4")]
    Ext4(Ext4Options<'a>),
    /// Squashfs: read-only and compressed. It needs the program `sqfstar` of squashfs-tools.
    Squashfs(SquashfsOptions<'a>),
}

/// Writes the root as a disk image to the file at `path`. An existing file is replaced when the new one is complete. A
/// block device is written in place.
///
/// The report has the length of the image, and lists the parts of the root that the file system cannot hold.
///
/// # Errors
/// - The file cannot be created, written or renamed, or the disk is full.
/// - The root cannot be read, or does not fit into the size of the options.
/// - `sqfstar` is not installed, or failed.
/// - The options are strict, and the file system cannot hold everything.
/// - [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled): the hook of the options returned `Break`.
pub fn write_to_path(root: &ContainerFs, path: impl AsRef<Path>, file_system: &FileSystem<'_>) -> Result<Report> {
    let path = path.as_ref();
    match file_system {
        #[cfg(feature = "erofs")]
        FileSystem::Erofs(options) => Ok(export_erofs(root, path, options)?),
        #[cfg(feature = "ext4")]
        FileSystem::Ext4(options) => Ok(export_ext4(root, path, options)?),
        FileSystem::Squashfs(options) => Ok(export_squashfs(root, path, options)?),
    }
}
