//! `containers-storage:` sources: images in the stores of podman, buildah and CRI-O.
//!
//! A store keeps an image's manifest and config as they were pulled, but its layers only as directories of files. Beside
//! each directory, a *tar-split* file has everything else of the layer's tar: headers and padding. So the plain tar is
//! put together again, byte for byte, and its digest is the diff id. The compressed layers of a registry cannot be
//! made again. If the manifest lists compressed layers, it is replaced by one that lists the plain ones.
//!
//! A store is only read. Its lists are read under the same locks that podman takes for reading. The files of a layer do
//! not change while the layer exists, so they are read without a lock: a slow copy does not block podman. If the layer is
//! removed meanwhile, reading fails.
//!
//! The formats are those of containers/storage: `images.json`, `layers.json`, and tar-split's JSON.

mod big_data;
mod files;
mod find;
mod image;
mod options;
mod records;
mod signatures;
mod store;
mod tar_split;

pub use self::options::{StorageConfig, StorageOptions, StorageUser};

use self::image::StoredImage;
use self::store::Stores;
use crate::name::StorageName;
use crate::{ImageSource, Result};

/// Opens an image of a store. The store in the name, if any, takes precedence over the one of the options.
///
/// A word of hex digits is an id or the beginning of one if the store has such an image, and else a name.
///
/// # Errors
/// - [`Error::NoSuchImage`](crate::Error::NoSuchImage): the store has no such image. Lists its images.
/// - [`Error::SeveralImages`](crate::Error::SeveralImages): several ids begin like the given one.
/// - [`Error::NotAnArchive`](crate::Error::NotAnArchive): the directory is not a store, or its driver is not supported.
/// - [`Error::Io`](crate::Error::Io): a file of the store cannot be read.
/// - [`Error::Member`](crate::Error::Member), [`Error::MemberTooLarge`](crate::Error::MemberTooLarge),
///   [`Error::Missing`](crate::Error::Missing), [`Error::DigestMismatch`](crate::Error::DigestMismatch): the store is
///   damaged.
pub fn open_storage(name: &StorageName, options: &StorageOptions) -> Result<Box<dyn ImageSource>> {
    let options = match &name.store {
        Some(location) => options.at(location),
        None => options.clone(),
    };
    let stores = Stores::open(&options)?;
    let found = stores.find(name)?;
    let image = StoredImage::open(&stores, found, name.reference.as_ref(), &options.limits)?;
    Ok(Box::new(image))
}

/// Reads a tar-split file for a fuzz target.
#[cfg(fuzzing)]
pub(crate) fn fuzz_tar_split(path: &std::path::Path) {
    let limits = vmroot_compress::Limits { max_output: 1 << 24, ..vmroot_compress::Limits::default() };
    if let Ok(mut parts) = tar_split::TarSplit::open(path, &limits) {
        while let Ok(Some(_)) = parts.next() {}
    }
    if let Ok(parts) = tar_split::TarSplit::open(path, &limits) {
        let _ = parts.size();
    }
}
