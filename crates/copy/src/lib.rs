//! Copies images from a source to a destination: single images, lists and artifacts, with conversions of manifests,
//! compression of layers, and reuse of the blobs that the destination has.
//!
//! A [`Copier`] copies from any [`ImageSource`](vmroot_transport::ImageSource) to any
//! [`ImageDestination`](vmroot_transport::ImageDestination). Without options that change the image, its bytes and
//! digests are kept wherever the destination can hold them. Every loss is in the [`CopyReport`].
//!
//! Functions of this crate block.

mod batch;
mod blobs;
mod copier;
mod encryption;
mod error;
mod image;
mod ledger;
mod list;
mod options;
mod pace;
mod plan;
mod progress;
mod referrers;
mod report;
mod schema1;
mod signatures;
#[cfg(feature = "sync-list")]
pub mod sync;
mod variants;

pub use copier::Copier;
pub use error::{Error, Result};
pub use options::{Compression, CopyOptions, Encryption, ListForm, Selection};
pub use progress::{BlobState, CopyProgress, NoCopyProgress};
pub use report::CopyReport;
pub use signatures::ImageSigner;
pub use variants::LayerVariants;
