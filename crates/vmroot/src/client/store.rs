//! Images in the cache by their ids, and how they are related.

use std::collections::BTreeMap;
use std::time::SystemTime;

use vmroot_image_store::{FreedLayer, Image};
use vmroot_model::Digest;

use super::Client;
use crate::Result;

impl Client {
    /// Creates an image without a name from the bytes of its config, and returns its id: the digest of these bytes. The
    /// layers must be those of images in the cache. An image that exists stays as it is.
    ///
    /// # Errors
    /// - The config is invalid, has no `rootfs`, or has more steps of history with a layer than layers.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): no image in the cache has one of the layers.
    /// - The cache cannot be read or written.
    pub fn create(&self, config: &[u8]) -> Result<Digest> {
        Ok(self.store.create(config, &self.progress)?)
    }

    /// Returns an image by its id.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): its config is missing or damaged.
    pub fn get(&self, id: &Digest) -> Result<Image> {
        Ok(self.store.get(id)?)
    }

    /// Removes an image with all its names. Its children no longer have a parent.
    ///
    /// Returns the layers that no image has any more, the top one first. [`Self::collect`] frees their space.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image.
    pub fn delete_image(&self, id: &Digest) -> Result<Vec<FreedLayer>> {
        Ok(self.store.delete(id)?)
    }

    /// Finds the id of an image by the id or a prefix of it, with or without `sha256:`.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): no image has this id or prefix.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): several images have this prefix. The error lists them.
    pub fn search(&self, term: &str) -> Result<Digest> {
        Ok(self.store.search(term)?)
    }

    /// Sets the parent of an image: the image from which it was made.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache does not have one of the two images.
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): `id` is `parent` or an ancestor of it.
    pub fn set_parent(&self, id: &Digest, parent: &Digest) -> Result<()> {
        Ok(self.store.set_parent(id, parent)?)
    }

    /// Returns the parent of an image; `None` if it has none in the cache.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no image `id`.
    pub fn get_parent(&self, id: &Digest) -> Result<Option<Digest>> {
        Ok(self.store.get_parent(id)?)
    }

    /// Returns the direct children of an image, sorted. An id without an image has none.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn children(&self, id: &Digest) -> Result<Vec<Digest>> {
        Ok(self.store.children(id)?)
    }

    /// Records that an image was updated now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image.
    pub fn set_last_updated(&self, id: &Digest) -> Result<()> {
        Ok(self.store.set_last_updated(id)?)
    }

    /// Returns the time of the last [`Self::set_last_updated`] of an image.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image.
    pub fn get_last_updated(&self, id: &Digest) -> Result<Option<SystemTime>> {
        Ok(self.store.get_last_updated(id)?)
    }

    /// Records that an image was built on this machine.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image.
    pub fn set_built_locally(&self, id: &Digest) -> Result<()> {
        Ok(self.store.set_built_locally(id)?)
    }

    /// Returns whether [`Self::set_built_locally`] was called for an image.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image.
    pub fn is_built_locally(&self, id: &Digest) -> Result<bool> {
        Ok(self.store.is_built_locally(id)?)
    }

    /// Returns all images by their ids. One whose config is missing or damaged is left out: see [`Self::damaged`].
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn map(&self) -> Result<BTreeMap<Digest, Image>> {
        Ok(self.store.map()?)
    }

    /// Returns the images without children. Otherwise as [`Self::map`].
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn heads(&self) -> Result<BTreeMap<Digest, Image>> {
        Ok(self.store.heads()?)
    }

    /// Returns the number of images. An image with several names counts once.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn len(&self) -> Result<usize> {
        Ok(self.store.len()?)
    }

    /// Returns whether the cache has no images.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.store.is_empty()?)
    }

    /// Returns an error for each damaged record, each damaged file of metadata, and each image whose config is missing or
    /// damaged. All other images can be used.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn damaged(&self) -> Result<Vec<crate::Error>> {
        Ok(self.store.damaged()?.into_iter().map(crate::Error::from).collect())
    }
}
