//! Development only: makers of layers and images in every shape, and judges of what becomes of them.
//!
//! Nothing here uses the project's own reading, indexing or merging code, so a mistake there is not repeated here.
//! [`layer`] describes layers and [`tar_builder`] writes their bytes; [`model`] merges them naively in memory and
//! [`overlay`] by the kernel; [`listing`] puts what came out into one comparable form.

pub mod arbitrary;
pub mod disk;
pub mod error;
pub mod guest;
pub mod hostile;
pub mod image;
pub mod layer;
pub mod listing;
pub mod model;
pub mod mounted;
pub mod overlay;
pub mod registry;
pub mod sample;
pub mod skip;
pub mod tar_builder;

mod xattr;

pub use error::{Error, FullMessage, Result};
