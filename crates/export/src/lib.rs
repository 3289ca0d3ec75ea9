//! Exporting the merged root of an image.
//!
//! [`export_directory`] writes a directory, [`export_tar`] a tar, [`export_cpio`] an initramfs and [`export_squashfs`] a
//! squashfs. They read any [`ContainerFs`](vmroot_container_fs::ContainerFs). [`export_prebaked`] copies the files of a
//! `ContainerFs` to one directory, and [`open_prebaked`] opens them there.
//!
//! [`copy_out`] copies a file or a tree of the root to where `docker cp` would, and [`write_path`] writes it as a tar.
//!
//! Functions named `export_` write to a path. A file appears there only when it is complete; [`export_directory`] and
//! [`export_prebaked`] say what remains after an error. Functions named `write_` write to a writer or over a file, which
//! after an error has an incomplete output. All return a [`Report`](vmroot_output::Report).

mod copy_out;
mod cpio;
mod directory;
mod error;
mod prebaked;
mod root;
mod squashfs;
mod stream;
mod tar;

pub use copy_out::{CopyOutOptions, copy_out, write_path};
pub use cpio::{CpioOptions, CpioWriter, export_cpio, write_cpio};
pub use directory::{DirectoryOptions, OVERRIDE_STAT, XATTR_PREFIX, export_directory};
pub use error::{Error, Result};
pub use prebaked::{PrebakedSources, export_prebaked, open_prebaked};
pub use squashfs::{SquashfsCompression, SquashfsOptions, export_squashfs, write_squashfs};
pub use stream::write_stream;
pub use tar::{Archive, Attributes, EntryHeader, TarOptions, TarReader, export_tar, tar_omissions, write_tar};
