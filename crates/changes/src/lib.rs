//! What comes in beside an image.
//!
//! [`HostWalk`] reads a directory of this machine, [`export_layer`] writes it as a layer's tar, with the marks of
//! overlayfs turned into those of a layer, and [`LayerWriter`] writes single entries. [`Top`] puts layers and files on top
//! of a root for one use of it.

mod error;
mod host;
mod layer;
mod top;

pub use error::{Error, Result};
pub use host::{HostEntry, HostWalk};
pub use layer::{LayerOptions, LayerReport, LayerWriter, Marks, export_compressed_layer, export_layer};
pub use top::{Addition, OnTop, Replaced, Top, TopFiles, TopLayer, TopOptions, TopWarning};
