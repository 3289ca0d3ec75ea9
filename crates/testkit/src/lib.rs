//! A test kit, for development only: builders of layers and images of all kinds, and independent checks of the results.
//!
//! The kit does not use the project's code for reading, indexing or merging, so it does not share that code's mistakes.
//! [`layer`] describes layers and [`tar_builder`] writes their bytes. [`model`] merges layers naively in memory, and
//! [`overlay`] with the kernel. [`listing`] converts the results into one comparable form.

pub mod arbitrary;
pub mod disk;
pub mod dockerd;
pub mod error;
pub mod guest;
pub mod history;
pub mod hostile;
pub mod image;
pub mod layer;
pub mod listing;
pub mod model;
pub mod mounted;
pub mod newer;
pub mod overlay;
pub mod registry;
pub mod sample;
pub mod skip;
pub mod tar_builder;

mod xattr;

pub use error::{Error, FullMessage, Result};
