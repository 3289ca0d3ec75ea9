//! Copies of images between registries, archives, layouts, directories and the cache.

use std::sync::Arc;

use vmroot_copy::{Copier, CopyOptions, CopyReport, LayerVariants, Selection};
use vmroot_image_store::{Fallback, StoredSource};
use vmroot_model::Platform;
use vmroot_transport::{DestinationOptions, ImageDestination, ImageName, ImageSource, open_destination};

use super::Client;
use crate::Result;

/// The file in the cache with the compressed forms of layers (docs/formats/cache.md).
const VARIANTS: &str = "variants";

impl Client {
    /// Copies an image, a list or an artifact. Both names are `TRANSPORT:details`; the images are not stored in the
    /// cache, unless the destination is `vmroot:NAME`.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(directory.path().join("cache")))?;
    /// use vmroot::{CopyOptions, Selection};
    ///
    /// let mut options = CopyOptions::default();
    /// options.selection = Selection::All;
    /// let layout = format!("oci:{}:demo", directory.path().join("layout").display());
    /// let report = client.copy("oci:../../testdata/demo:demo", &layout, &options)?;
    /// assert_eq!(report.manifest.digest, report.source);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): a name is malformed, or its transport cannot be read or written.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the source does not exist, or has no image for the
    ///   platform.
    /// - [`ErrorKind::Authentication`](crate::ErrorKind::Authentication),
    ///   [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) or
    ///   [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited): a registry refused, or failed.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): a digest, a document or a layer is invalid.
    /// - [`ErrorKind::Policy`](crate::ErrorKind::Policy): the policy on signatures does not accept the image.
    /// - [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace): the disk is full.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): the destination takes no form of the image.
    pub fn copy(&self, source: &str, destination: &str, options: &CopyOptions) -> Result<CopyReport> {
        let source = self.open_source_for(&ImageName::parse(source)?, &options.selection)?;
        let destination = ImageName::parse(destination)?;
        let destination = self.open_destination(&destination, &DestinationOptions::new(self.temporary_dir()))?;
        let mut options = options.clone();
        options.cancel = self.cancel().clone();
        Ok(self.copier(options).copy(&*source, &*destination)?)
    }

    /// Returns a copier that knows which compressed layers earlier copies have written, and obeys the client's policy.
    pub fn copier(&self, mut options: CopyOptions) -> Copier {
        options.admission = options.admission.or_else(|| self.policy.clone());
        let file = self.store.options().directory.join(VARIANTS);
        Copier::new(options).with_variants(Arc::new(LayerVariants::in_file(file)))
    }

    /// Opens the source of an image, for a [`Copier`].
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the transport cannot be read.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the file, or the image in it or in the cache, does not
    ///   exist.
    /// - The archive or layout cannot be read.
    pub fn open_source(&self, name: &ImageName) -> Result<Box<dyn ImageSource>> {
        Ok(self.source_of(name, None)?.0)
    }

    /// Opens the source of an image, for a [`Copier`] with this selection. For an image of the cache, that is the image for
    /// the selected platform, or the list of all images that the cache has under the name. Other sources have their lists.
    ///
    /// # Errors
    /// As [`Self::open_source`]; [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if the cache has the image for other
    /// platforms only. Without [`ClientOptions::platform`](crate::ClientOptions::platform), the only image of a name is
    /// accepted in place of one for this machine's platform.
    pub fn open_source_for(&self, name: &ImageName, selection: &Selection) -> Result<Box<dyn ImageSource>> {
        let ImageName::Cache(cached) = name else { return self.open_source(name) };
        let Selection::Platform(platform) = selection else {
            return Ok(Box::new(self.list_source(cached)?));
        };
        let (host, own) = (Platform::host(), platform.normalised());
        let is_default = self.platform.is_none() && (own.os, own.architecture) == (host.os, host.architecture);
        let wanted = Some(platform).filter(|_| !is_default);
        Ok(Box::new(self.store.source(&self.find_or(cached, wanted, Fallback::Only)?)))
    }

    /// Returns the images of the cache under a name, as the source of a list.
    fn list_source(&self, name: &str) -> Result<StoredSource> {
        Ok(self.store.list_source(&self.name_in_cache(name)?)?)
    }

    /// Opens the destination of an image, for a [`Copier`].
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the transport cannot be written.
    /// - The file or directory has contents that would be lost, or cannot be created.
    pub fn open_destination(
        &self,
        name: &ImageName,
        options: &DestinationOptions,
    ) -> Result<Box<dyn ImageDestination>> {
        match name {
            #[cfg(feature = "registry")]
            ImageName::Docker(reference) => Ok(Box::new(self.repository_destination(reference, false, options)?)),
            #[cfg(feature = "registry")]
            ImageName::Untagged(reference) => Ok(Box::new(self.repository_destination(reference, true, options)?)),
            #[cfg(not(feature = "registry"))]
            ImageName::Docker(reference) | ImageName::Untagged(reference) => {
                Err(crate::Error::no_registry(reference.clone()))
            }
            ImageName::Cache(name) => {
                let reference = vmroot_model::Reference::parse(name)?;
                Ok(Box::new(self.store.destination(&reference, &self.progress)))
            }
            #[cfg(feature = "registry")]
            ImageName::Daemon(name) => {
                Ok(vmroot_transport::open_daemon_destination(name, options, &self.daemon_options())?)
            }
            name => Ok(open_destination(name, options)?),
        }
    }

    #[cfg(feature = "registry")]
    pub(super) fn repository_destination(
        &self,
        reference: &vmroot_model::Reference,
        untagged: bool,
        options: &DestinationOptions,
    ) -> Result<vmroot_transport::RegistryDestination> {
        use vmroot_transport::RegistryDestination;

        if reference.tag().is_some() && reference.digest().is_some() {
            let name = format!("docker://{reference}");
            let reason = "a destination has a tag or a digest, not both".to_owned();
            return Err(vmroot_transport::Error::InvalidName { name, reason }.into());
        }
        let client = self.registries.named.clone();
        let destination = match untagged {
            true => RegistryDestination::untagged(client, reference.clone()),
            false => RegistryDestination::new(client, reference.clone()),
        };
        let destination = match self.registries.signature_places() {
            Some(places) => destination.with_signatures(places),
            None => destination,
        };
        let tags = options.additional_tags.iter().filter_map(|it| it.tag_or_default()).map(str::to_owned).collect();
        Ok(destination.with_additional_tags(tags)?)
    }
}
