//! Images in a cache, and the roots made of them.
//!
//! A [`Store`] takes images out of [sources](vmroot_transport::ImageSource), keeps their blobs, indexes each layer once,
//! merges the layers into a root and remembers what is called what. All of it is safe with any number of processes at
//! once, and a process may die at any moment: see `docs/formats/cache.md`.

mod choose;
mod collect;
mod error;
mod image;
mod in_use;
mod known;
mod layer;
mod layers;
mod progress;
mod pull;
mod record;
mod root;
mod store;
mod tee;
mod verify;

pub use choose::{Chosen, Fallback, choose};
pub use collect::{Collected, Removed};
pub use error::{Error, Result};
pub use image::Image;
pub use progress::{BlobProgress, NoProgress, Progress};
pub use pull::{PullPolicy, PullRequest};
pub use record::{LayerRecord, Record};
pub use store::{Store, StoreOptions};
pub use verify::{Finding, Found};
