//! The data model of container images, without network and disk access.
//!
//! Names ([`Reference`], [`Digest`], [`Platform`], [`MediaType`]) and documents ([`Document`], [`Manifest`], [`Index`],
//! [`ImageConfig`]) of the OCI image specification and of Docker's schema 2. A document keeps the bytes it was read
//! from, because its digest depends on them, and writing a typed value again may give other bytes.
//!
//! Copies write documents: new ones ([`NewManifest`], [`NewIndex`]), and those of a source with other layers or in
//! another format ([`Manifest::convert`], [`Index::edit`]), with the parts that these lose ([`Loss`]). Only copies read
//! Docker's obsolete schema 1 ([`AnyDocument`], [`Schema1`]). Commits write the config of a child image
//! ([`ImageConfig::new_child_image`]).

mod change;
mod child_image;
mod choose;
mod config;
mod convert;
mod cpu_variant;
mod descriptor;
mod digest;
mod document;
mod duration;
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
mod root_fs;
mod schema1;
mod select;
mod split_image;
mod timestamp;

pub use change::{CommandLine, ConfigChange};
pub use child_image::{ChildImage, EMPTY_LAYER};
pub use config::{CONFIG_LIMIT, ContainerConfig, Healthcheck, History, ImageConfig, chain_ids};
pub use convert::{
    Converted, EditedIndex, EncryptionChange, ExtraBlob, IndexEdit, IndexFormat, Instance, Loss, ManifestFormat,
    WrittenLayer,
};
pub use descriptor::{Descriptor, FOREIGN_URLS};
pub use digest::{Algorithm, Digest, Hasher};
pub use document::{AnyDocument, Document, MANIFEST_LIMIT};
pub use duration::parse_duration;
pub use error::{DocumentKind, Error, ReferencePart, Result};
pub use index::Index;
pub use manifest::Manifest;
pub use media_type::{LayerCompression, MediaType};
pub use new_document::{NewIndex, NewManifest};
pub use path_walk::{MAX_LINKS, PathWalk, Step, TooManyLinks};
pub use platform::Platform;
pub use reference::Reference;
pub use root_fs::RootFs;
pub use schema1::{Schema1, Schema1Layer, is_manifest_of, manifest_digest};
pub use select::Search;
pub use split_image::{ImageName, split_image};
pub use timestamp::{rfc3339, unix_time};
