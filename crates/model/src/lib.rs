//! The data model of container images, without network and disk access.
//!
//! Names ([`Reference`], [`Digest`], [`Platform`], [`MediaType`]) and documents ([`Document`], [`Manifest`], [`Index`],
//! [`ImageConfig`]) of the OCI image specification and of Docker's schema 2. A document keeps the bytes it was read
//! from, because its digest depends on them, and writing a typed value again may give other bytes.

mod config;
mod convert;
mod descriptor;
mod digest;
mod document;
mod error;
mod go_time;
mod index;
mod json;
mod json_text;
mod manifest;
mod media_type;
mod new_document;
mod path_walk;
mod platform;
mod reference;
mod select;

pub use config::{CONFIG_LIMIT, ContainerConfig, Healthcheck, HistoryEntry, ImageConfig, chain_ids};
pub use convert::{
    Converted, EditedIndex, ExtraBlob, IndexEdit, IndexFormat, Instance, Loss, ManifestFormat, WrittenLayer,
};
pub use descriptor::{Descriptor, FOREIGN_URLS};
pub use digest::{Algorithm, Digest, Hasher};
pub use document::{Document, MANIFEST_LIMIT};
pub use error::{DocumentKind, Error, ReferencePart, Result};
pub use index::Index;
pub use manifest::Manifest;
pub use media_type::{LayerCompression, MediaType};
pub use new_document::{NewIndex, NewManifest};
pub use path_walk::{MAX_LINKS, PathWalk, Step, TooManyLinks};
pub use platform::Platform;
pub use reference::Reference;
pub use select::Search;
