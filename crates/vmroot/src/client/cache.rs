//! Images in the cache: lookup, roots, removal and verification.

use std::path::{Path, PathBuf};

use vmroot_cache::Usage;
use vmroot_container_fs::{ContainerFs, LayerFiles};
use vmroot_image_store::{
    CollectOptions, Collection, Fallback, Holder, Image, Record, Removal, SpaceUsage, VerifyReport, choose,
};
use vmroot_model::{Digest, Platform, Reference};
use vmroot_transport::ImageName;
use vmroot_verity::KeptLeaves;

use super::Client;
use crate::Result;
use crate::name::{check_name, local_name};

impl Client {
    /// Returns the records of all images in the cache and in shared ones, ordered by name.
    /// [`Record::shared_cache`](crate::Record::shared_cache) is the shared cache of those that only that one has.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn images(&self) -> Result<Vec<Record>> {
        Ok(self.store.images()?)
    }

    /// Finds an image in the cache by reference, id, or unique prefix of an id. `TRANSPORT:details` names the same
    /// image as for [`Self::pull_with`]: `docker://NAME` is `NAME`, and a file is read to find out its image.
    ///
    /// A name without a registry that nothing else has is also looked up under `localhost/`, as podman and buildah name
    /// the images that they build.
    ///
    /// Without a platform, it is the image for the host's, or one that
    /// [`ClientOptions::fallback`](crate::ClientOptions::fallback) allows. [`Record::platform`] is its platform.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image, or not for the platform.
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the name is malformed.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): the beginning of an id is that of several images.
    /// - The file after `TRANSPORT:` cannot be read.
    pub fn find(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        self.find_or(name, platform, self.fallback)
    }

    /// Finds an image as [`Self::find`] does, with a fallback of its own.
    pub(super) fn find_or(&self, name: &str, platform: Option<&Platform>, fallback: Fallback) -> Result<Image> {
        if !ImageName::has_transport(name) {
            #[cfg(feature = "registry")]
            if let Some(image) = self.find_by_short_name(name, platform, fallback)? {
                return Ok(image);
            }
            return match self.store.find_or(name, platform, fallback) {
                Err(vmroot_image_store::Error::NoSuchImage(missing)) => {
                    check_name(name)?;
                    if let Some(local) = local_name(name)
                        && let Some(image) = self.find_reference(&local, platform, fallback)?
                    {
                        return Ok(image);
                    }
                    Err(vmroot_image_store::Error::NoSuchImage(missing).into())
                }
                found => Ok(found?),
            };
        }
        match ImageName::parse(name)? {
            ImageName::Docker(reference) => Ok(self.store.find_or(&reference.to_string(), platform, fallback)?),
            ImageName::Cache(name) => self.find_or(&name, platform, fallback),
            _ => self.find_loaded(name, platform),
        }
    }

    /// Finds the image of a short name with a meaning of its own in the configuration.
    #[cfg(feature = "registry")]
    fn find_by_short_name(&self, name: &str, platform: Option<&Platform>, fallback: Fallback) -> Result<Option<Image>> {
        for reference in self.configured_names(name)? {
            if let Some(image) = self.find_reference(&reference, platform, fallback)? {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Finds the image of a reference; `None` if the cache has no image of this name.
    fn find_reference(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        fallback: Fallback,
    ) -> Result<Option<Image>> {
        match self.store.find_or(&reference.to_string(), platform, fallback) {
            Err(vmroot_image_store::Error::NoSuchImage(_)) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Returns the references that a name without a transport may have in the cache, in the order in which they are
    /// tried. The last is the name itself under `localhost/`, as podman and buildah name the images that they build.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub(super) fn names_in_cache(&self, name: &str) -> Result<Vec<String>> {
        #[cfg(feature = "registry")]
        let configured = self.configured_names(name)?;
        #[cfg(not(feature = "registry"))]
        let configured: Vec<Reference> = Vec::new();
        let mut names: Vec<String> = configured.iter().map(ToString::to_string).collect();
        names.push(name.to_owned());
        names.extend(local_name(name).map(|local| local.to_string()));
        Ok(names)
    }

    /// Returns the names that a short name stands for in the configuration.
    #[cfg(feature = "registry")]
    pub(super) fn configured_names(&self, name: &str) -> Result<Vec<Reference>> {
        if crate::name::is_id(name) || Reference::parse(name).is_err() {
            return Ok(Vec::new());
        }
        self.registries.configured_names(name)
    }

    /// Finds the image of a file, if it was loaded before.
    fn find_loaded(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let (source, references) = self.source(name, platform)?;
        let (platform, fallback) = self.platform(platform, Fallback::Only);
        let chosen = choose(&*source, &platform, fallback)?;
        let id = chosen.config.digest();
        let find_by_reference =
            |reference: &Reference| self.store.find(&reference.to_string(), Some(&chosen.platform)).ok();
        if let Some(image) = references.iter().filter_map(find_by_reference).find(|image| image.id() == id) {
            return Ok(image);
        }
        use vmroot_image_store::Error::NoSuchImage;
        self.store.find(&id.to_string(), None).map_err(|error| match error {
            NoSuchImage(_) => NoSuchImage(name.to_owned()).into(),
            error => error.into(),
        })
    }

    /// Opens the merged root of an image. Missing or damaged indexes are rebuilt from the blobs in the cache.
    ///
    /// The root holds its files open, so it can be read even after the image is removed. The paths of its contents
    /// files exist as long as the image has a name or is held as an [`Image`].
    ///
    /// # Errors
    /// [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): a file is missing or damaged, and cannot be rebuilt from
    /// the blobs in the cache.
    pub fn root(&self, image: &Image) -> Result<ContainerFs> {
        Ok(self.store.root(image, &self.progress)?)
    }

    /// Returns the digests of the blocks of a root's contents files, for hash trees with the default parameters. Those that
    /// the cache does not have are computed, and kept beside the layers. Contents outside of the cache have none.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled): the work was cancelled.
    pub fn leaves(&self, root: &ContainerFs) -> Result<KeptLeaves> {
        Ok(self.store.leaves(root)?)
    }

    /// Returns what keeps an image from being removed: other users of the cache, leases, and child images. `Image`s of this
    /// client do not count.
    ///
    /// # Errors
    /// The uses, the leases or the records cannot be read.
    pub fn holders(&self, image: &Image) -> Result<Vec<Holder>> {
        Ok(self.store.holders(image)?)
    }

    /// Keeps the files of an image as long as what is mounted at `mountpoint` now, for a mount that the kernel serves
    /// without this process. Returns false if nothing is mounted there.
    ///
    /// # Errors
    /// The mountpoint or the table of mounts cannot be read, or the use cannot be written.
    pub fn hold_while_mounted(&self, image: &Image, mountpoint: &Path) -> Result<bool> {
        Ok(self.store.hold_while_mounted(image, mountpoint)?)
    }

    /// Removes the name by which an image was found, even if something needs the image: see [`Self::holders`].
    /// [`Self::collect`] frees the space once the image has no name and nothing uses it.
    ///
    /// # Errors
    /// - The record cannot be removed.
    /// - Only a shared cache has the image under this name.
    pub fn remove_name(&self, image: &Image) -> Result<Removal> {
        Ok(self.store.remove_name(image)?)
    }

    /// Removes all names of an image. Otherwise as [`Self::remove_name`].
    ///
    /// # Errors
    /// A record cannot be removed.
    pub fn remove(&self, image: &Image) -> Result<Removal> {
        Ok(self.store.remove(image)?)
    }

    /// Removes every file that no image needs, and returns the files and their size. Other threads and processes may
    /// continue meanwhile: the files that they need stay.
    ///
    /// # Errors
    /// - [`ErrorKind::InUse`](crate::ErrorKind::InUse): a process of an earlier version uses the cache, or one that found
    ///   the disk full. The files that it needs are unknown.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): a record or a lease is damaged, so the files that it needs
    ///   are unknown.
    pub fn collect(&self) -> Result<Collection> {
        Ok(self.store.collect()?)
    }

    /// Removes the images that the options select, the least recently used first, and then as [`Self::collect`].
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(directory.path()))?;
    /// use std::time::Duration;
    /// use vmroot::CollectOptions;
    ///
    /// let week = Duration::from_secs(7 * 24 * 3600);
    /// let options = CollectOptions { older_than: Some(week), max_size: Some(20 << 30), ..CollectOptions::default() };
    /// for image in client.collect_with(&options)?.images {
    ///     println!("removed {}: {:?}", image.id, image.reason);
    /// }
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn collect_with(&self, options: &CollectOptions) -> Result<Collection> {
        Ok(self.store.collect_with(options, &self.progress)?)
    }

    /// Returns the files that [`Self::collect`] would remove now.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn list_unneeded(&self) -> Result<Collection> {
        Ok(self.store.list_unneeded()?)
    }

    /// Removes the images without a name, and then as [`Self::collect`]. An image from which another one was made stays
    /// as long as that one.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn collect_dangling(&self) -> Result<Collection> {
        Ok(self.store.collect_dangling()?)
    }

    /// Returns the images and files that [`Self::collect_dangling`] would remove now.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn list_dangling(&self) -> Result<Collection> {
        Ok(self.store.list_dangling()?)
    }

    /// Verifies every file in the cache, and changes none. Damage is part of the result, and no error.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn verify(&self) -> Result<VerifyReport> {
        Ok(self.store.verify(&self.progress)?)
    }

    /// Returns the disk usage of the cache.
    ///
    /// # Errors
    /// A directory cannot be listed.
    pub fn usage(&self) -> Result<Usage> {
        Ok(self.store.usage()?)
    }

    /// Returns the disk space of each image, layer and root, shared and unique.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// client.pull("oci:../../testdata/demo:demo")?;
    /// let space = client.space()?;
    /// let image = &space.images[0];
    /// assert_eq!(image.unique.total(), image.total.total(), "no other image shares its files");
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// A directory cannot be listed.
    pub fn space(&self) -> Result<SpaceUsage> {
        Ok(self.store.space()?)
    }

    /// Rebuilds missing files of an image: the index and contents of each layer, and the index of its root.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn make_complete(&self, image: &Image) -> Result<()> {
        Ok(self.store.make_complete(image, &self.progress)?)
    }

    /// Returns the path of the index of an image's root. The file exists after [`Self::make_complete`].
    pub fn root_index(&self, image: &Image) -> PathBuf {
        self.store.root_index(image)
    }

    /// Returns the paths of a layer's files.
    pub fn layer_files(&self, diff_id: &Digest) -> LayerFiles {
        self.store.layer_files(diff_id)
    }
}
