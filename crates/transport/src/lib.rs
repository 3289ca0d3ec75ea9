//! Sources and destinations of images: registries, `docker save` archives, OCI layouts and archives, and `dir:`
//! directories.
//!
//! Each source implements [`ImageSource`], which returns manifests and the bytes of blobs. Each destination implements
//! [`ImageDestination`], which takes them. [`Archive`] opens a file or
//! directory and lists its images. [`open_destination`] prepares one for writing. [`ImageName`] is the name of an image in the form `TRANSPORT:details`.
//!
//! Functions of this crate block.

mod admission;
mod archive;
mod archive_output;
mod attachments;
mod blob_file;
mod blob_spool;
mod bundle;
mod bundles;
mod containers_storage;
mod created_image;
mod destination;
mod dir;
mod docker_archive;
#[cfg(feature = "daemon")]
mod docker_daemon;
mod error;
mod foreign;
#[cfg(fuzzing)]
pub mod fuzzing;
mod identity;
mod image_documents;
mod instances;
mod name;
mod oci_archive;
mod oci_layout;
mod open_destination;
mod referrers;
mod regular;
#[cfg(feature = "registry")]
mod repository;
mod section;
mod selector;
mod sif;
mod signature_files;
mod source;
mod spool;
mod tar_members;
mod tar_writer;
mod tarball;
mod validate;
mod whole;

pub use admission::{Admission, Admitted, JudgedImage, SeenSignatures};
pub use archive::{Archive, ArchiveLists, ArchiveOptions, Format, ReadingHook};
pub use containers_storage::{StorageConfig, StorageOptions, StorageUser, open_storage};
pub use destination::{Accepts, BlobRole, ImageDestination, LayerForm, ManifestPlace, NewBlob, Reuse};
pub use docker_archive::{LEGACY_VERSION, LegacyLayer, describe_legacy_layers};
#[cfg(feature = "daemon")]
pub use docker_daemon::{DaemonOptions, open_daemon, open_daemon_destination};
pub use error::{Error, Result};
pub use foreign::ForeignLayers;
pub use identity::identity_of_origin;
pub use name::{DaemonName, ImageName, StorageName, StoreLocation, TarballName};
pub use open_destination::{DestinationOptions, delete_image, open_destination};
#[cfg(feature = "registry")]
pub use repository::{ListedTags, RegistryDestination, RegistryPlace, RegistrySource};
pub use selector::{ArchiveImage, ImageSelector};
pub use sif::open_sif;
pub use source::{BlobBody, BundleList, ImageSource, RawManifest};
pub use tar_writer::TarWriter;
pub use tarball::{TarballOptions, open_tarball};
pub use validate::validate_tar;
