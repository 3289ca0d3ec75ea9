//! Layers and files that are added to an image.
//!
//! [`HostWalk`] reads a directory of this machine. [`export_layer`] writes it as a layer's tar and converts the marks
//! of overlayfs, and [`LayerWriter`] writes single entries. [`Top`] puts layers and files on top of a root.

mod error;
mod host;
mod layer;
mod top;

pub use error::{Error, Result};
pub use host::{HostEntry, HostFile, HostInode, HostWalk};
pub use layer::{LayerOptions, LayerWriter, Marks, export_layer, write_layer};
pub use top::{Addition, ExtendedRoot, Owner, Replacement, Top, TopFiles, TopOptions, TopProgress, TopWarning};
