//! Layers and files that are added to an image.
//!
//! [`HostWalk`] reads a directory of this machine, and [`DiskWalk`] one of an ext4 disk. [`export_layer`] and
//! [`write_disk_layer`] write them as a layer's tar and convert the marks of overlayfs, and [`LayerWriter`] writes single
//! entries. [`Top`] puts layers and files on top of a root.

mod disk;
mod error;
mod host;
mod layer;
mod top;
mod tree;

pub use disk::{Disk, DiskFile, DiskWalk};
pub use error::{Error, Result};
pub use host::{HostEntry, HostFile, HostWalk};
pub use layer::{LayerOptions, LayerWriter, Marks, export_layer, write_disk_layer, write_layer};
pub use top::{Addition, ExtendedRoot, Owner, Replacement, Top, TopFiles, TopOptions, TopProgress, TopWarning};
pub use tree::{SharedInode, Tree, TreeEntry, TreeFile};
