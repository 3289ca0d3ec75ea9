//! Where images come from: registries, docker save archives, OCI layouts and archives, and `dir:` directories.
//!
//! Every place is an [`ImageSource`], which answers two questions: what is the manifest, and what are the bytes of this
//! blob. [`Archive`] opens whatever a file or directory holds and says which images there are; [`ImageName`] is the
//! `TRANSPORT:details` form in which people name a place.

mod archive;
mod bundle;
mod dir;
mod docker_archive;
mod error;
mod name;
mod oci_layout;
mod pick;
mod repository;
mod section;
mod source;
mod spool;
mod tar_members;
mod validate;

pub use archive::{Archive, Format, Options};
pub use error::{Error, Result};
pub use name::ImageName;
pub use pick::{ArchiveImage, Pick};
pub use repository::RegistrySource;
pub use source::{BlobBody, ImageSource, RawManifest};
pub use validate::validate_tar;
