//! Images in the cache: listed, by their ids and names, and how they are related.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use vmroot_image_store::{AddedLayer, FreedLayer, Image, ImageFilter, NewLayer, Record, Tagged, Untagged};
use vmroot_model::{Digest, Platform, Reference};

use super::Client;
use crate::Result;

impl Client {
    /// Returns the records of the images that meet all conditions, ordered by name. Those without a name are last.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let reference = vmroot::Reference::parse("demo")?;
    /// use vmroot::ImageFilter;
    ///
    /// client.pull("oci:../../testdata/demo:demo")?;
    /// client.tag("demo", &[reference.with_tag("stable")?], None)?;
    /// let stable = client.list_images(&ImageFilter::new().reference("*:stable")?.condition("until=24h")?)?;
    /// assert_eq!(stable[0].reference.as_ref().unwrap().familiar(), "demo:stable");
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no image with the name in `before` or
    ///   `since`.
    /// - The records cannot be read.
    pub fn list_images(&self, filter: &ImageFilter) -> Result<Vec<Arc<Record>>> {
        Ok(self.store.list_images(filter)?)
    }

    /// Gives an image of the cache further names. Without a platform, all platforms that are recorded under `source` get
    /// them. `Client::set_tag` sets a tag in a registry.
    ///
    /// `source` is a reference, an id, or a prefix of an id. A name without a tag gets the tag `latest`. Names of other
    /// images move. An image that loses its last name stays in the cache, without a name.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image, or not for the platform.
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): a name has a digest, or `source` is malformed.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): the beginning of an id is that of several images.
    /// - The records cannot be read or written.
    pub fn tag(&self, source: &str, names: &[Reference], platform: Option<&Platform>) -> Result<Tagged> {
        let source = &*self.name_in_cache(source)?;
        match self.store.tag(source, names, platform, &*self.progress) {
            Err(vmroot_image_store::Error::NoSuchImage(missing)) => {
                crate::name::check_name(source)?;
                Err(vmroot_image_store::Error::NoSuchImage(missing).into())
            }
            tagged => Ok(tagged?),
        }
    }

    /// Takes a name from its images. Without a platform, the name is taken from the images for all platforms.
    ///
    /// An image that loses its last name stays in the cache, without a name.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): no image in the cache has this name, or not for the
    ///   platform.
    /// - The records cannot be read or written.
    pub fn untag(&self, name: &Reference, platform: Option<&Platform>) -> Result<Untagged> {
        Ok(self.store.untag(name, platform)?)
    }

    /// Puts a layer into the cache, for [`Self::create`]: a tar in any compression. Its blob is in gzip, or in zstd if the
    /// tar is.
    ///
    /// The layer stays as long as the result is alive, or an image has it.
    ///
    /// # Errors
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the layer is damaged, or is not a tar.
    /// - [`ErrorKind::Limit`](crate::ErrorKind::Limit): the layer exceeds a limit.
    /// - [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace): the disk is full.
    pub fn add_layer(&self, layer: NewLayer) -> Result<AddedLayer> {
        Ok(self.store.add_layer(layer, None, &self.progress)?)
    }

    /// Creates an image without a name from the bytes of its config, and returns its id: the digest of these bytes. The
    /// layers must be those of images in the cache, or of [`Self::add_layer`]. An image that exists stays as it is.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// # let reader = Box::new(std::io::Cursor::new(vec![0_u8; 1024]));
    /// use vmroot::NewLayer;
    ///
    /// let layer = client.add_layer(NewLayer { name: "layer.tar".to_owned(), reader })?;
    /// let diff_id = layer.diff_id();
    /// let config = format!(r#"{{"rootfs": {{"type": "layers", "diff_ids": ["{diff_id}"]}}}}"#);
    /// let id = client.create(config.as_bytes())?;
    /// assert_eq!(client.get(&id)?.config().raw(), config.as_bytes());
    /// assert_eq!(client.search(&id.to_string()[..15])?, id);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - The config is invalid, has no `rootfs`, has more steps of history with a layer than layers, or is for another
    ///   operating system than this machine's.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache does not have one of the layers.
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

    /// Removes an image of the cache with all its names. Its children no longer have a parent.
    /// `Client::delete` deletes an image of a registry.
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
    /// damaged, or that lacks a layer. All other images can be used. [`Self::verify`] also reads the layers.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn damaged(&self) -> Result<Vec<crate::Error>> {
        Ok(self.store.damaged()?.into_iter().map(crate::Error::from).collect())
    }
}
