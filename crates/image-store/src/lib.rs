//! A store of container images in a cache, and the root file systems built from them.
//!
//! A [`Store`] pulls images from [sources](vmroot_transport::ImageSource), keeps their blobs, indexes each layer once,
//! merges the layers into a root, and records the images' names. Any number of processes may use a cache at once, and a
//! process may be killed at any moment: see `docs/formats/cache.md`.

mod added_layer;
mod budget;
mod cached_source;
mod caching_reader;
mod catalogue;
mod chain;
mod choose;
mod collect;
mod commit;
mod configs;
mod documents;
mod encrypted;
mod error;
mod history;
mod holders;
mod identity;
mod image;
mod images_filter;
mod in_use;
mod journal;
mod last_used;
mod layer;
mod layers;
mod lease;
mod leaves;
mod load;
mod lookup;
mod metadata;
mod progress;
mod pull;
mod record;
mod root;
mod save;
mod shared;
mod signatures;
mod space;
mod store;
mod stored_destination;
mod stored_source;
mod tags;
mod verify;

pub use added_layer::AddedLayer;
pub use chain::Chain;
pub use choose::{ChosenImage, Fallback, choose};
pub use collect::{CollectOptions, Collection, KeptImage, Reason, Removal, RemovedImage};
pub use commit::{CommitRequest, NewLayer};
pub use error::{Error, Result};
pub use history::{HistoryStep, LayerSize};
pub use holders::Holder;
pub use identity::FreedLayer;
pub use image::Image;
pub use images_filter::ImageFilter;
pub use journal::Moved;
pub use load::{LoadOptions, LoadReport, LoadedImage};
pub use progress::{BlobProgress, BlobStage, NoProgress, Progress, VerifyProgress, Work, WorkProgress};
pub use pull::{PullPolicy, PullRequest};
pub use record::{LayerRecord, Record};
pub use save::{SaveFormat, SaveOptions};
pub use signatures::{Judged, JudgedDocuments, JudgedSignature};
pub use space::{ImageSpace, LayerSpace, RootSpace, SpaceUsage};
pub use store::{Store, StoreOptions};
pub use stored_destination::StoredDestination;
pub use stored_source::StoredSource;
pub use tags::{Tagged, Untagged};
pub use verify::{
    AffectedImage, FileKind, Finding, FindingState, ImageOrigins, NoOrigins, QuarantinedFile, VerifyReport,
};
pub use vmroot_cache::{LEASE_ID_LIMIT, Lease, LeasedImage};
