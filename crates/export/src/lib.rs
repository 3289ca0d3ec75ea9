//! Writes the merged root of an image out.
//!
//! [`export_directory`] makes a directory of it, [`export_tar`] a tar, [`export_cpio`] an initramfs: each a walk over a
//! [`ContainerFs`](vmroot_container_fs::ContainerFs) that knows nothing of the layers and tars it came from.
//! [`export_layer`] writes a directory of this machine as a layer, and [`LayerWriter`] what a [`HostWalk`] finds.
//! [`export_prebaked`] puts the files that a `ContainerFs` is read from into one directory, and [`open_prebaked`] opens
//! them there. [`OutputFile`] is for whoever writes a tar or an image to a file, [`Copier`] for moving file contents into it,
//! and [`Meter`] for saying how far that is.

mod beneath;
mod copy;
mod cpio;
mod directory;
mod error;
mod holes;
mod host;
mod layer;
mod omissions;
mod output;
mod prebaked;
mod progress;
mod stream;
mod tar;

pub use copy::Copier;
pub use cpio::{CpioOptions, CpioReport, CpioWriter, export_compressed_cpio, export_cpio};
pub use directory::{DirectoryOptions, DirectoryReport, OVERRIDE_STAT, XATTR_PREFIX, export_directory};
pub use error::{Error, Result};
pub use holes::{Holes, LastHoles};
pub use host::{HostEntry, HostWalk};
pub use layer::{LayerOptions, LayerReport, LayerWriter, Marks, export_compressed_layer, export_layer};
pub use omissions::{Incomplete, LISTED_OMISSIONS, Omission, Omissions, Omitted, Why};
pub use output::OutputFile;
pub use prebaked::{PrebakedSources, export_prebaked, export_prebaked_while, open_prebaked};
pub use progress::{Counter, Hook, Meter, Progress};
pub use tar::{Attributes, TarOptions, TarReader, TarReport, export_compressed_tar, export_tar, tar_omissions};
