//! Pulls of images, from registries, archives, layouts and directories.

use std::path::Path;
use std::sync::Arc;

use vmroot_image_store::{Fallback, Image, PullPolicy, PullRequest, Work, WorkProgress, choose};
use vmroot_model::{Platform, Reference};
use vmroot_transport::{Archive, ArchiveImage, ArchiveOptions, ImageName, ImageSelector, ImageSource, SeenSignatures};

use super::Client;
use crate::name::{check_name, is_id, local_name};
use crate::{Description, ErrorKind, Result};

/// Options of one pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The platform of the image. An image for another platform is an error. `None` means
    /// [`ClientOptions::platform`](crate::ClientOptions::platform).
    pub platform: Option<Platform>,
    /// When the registry is asked for the name: always, only if the image is not in the cache, or never.
    pub policy: PullPolicy,
}

impl Client {
    /// Pulls an image for the client's platform, unless it is in the cache.
    ///
    /// The name is a reference, such as `quay.io/fedora/fedora:41`, or `TRANSPORT:details` for an archive, a layout or
    /// a directory, as in this example.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let image = client.pull("oci:../../testdata/demo:demo")?;
    /// println!("{}", image.id());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the name is malformed.
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the image or the file does not exist, or the image is not
    ///   for the platform.
    /// - [`ErrorKind::Authentication`](crate::ErrorKind::Authentication),
    ///   [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) or
    ///   [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited): the registry refused, or failed.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): a digest, a document or a layer is invalid.
    /// - [`ErrorKind::Policy`](crate::ErrorKind::Policy): the policy on signatures does not accept the image.
    /// - [`ErrorKind::Limit`](crate::ErrorKind::Limit): a layer exceeds a limit.
    /// - [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace): the disk is full.
    /// - [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled): the call was cancelled.
    pub fn pull(&self, name: &str) -> Result<Image> {
        self.pull_with(name, &PullOptions::default())
    }

    /// Pulls an image for a platform.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::Platform;
    ///
    /// let image = client.pull_for("oci:../../testdata/demo:demo", &Platform::linux("aarch64")?)?;
    /// assert_eq!(image.config().architecture(), "arm64");
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn pull_for(&self, name: &str, platform: &Platform) -> Result<Image> {
        self.pull_with(name, &PullOptions { platform: Some(platform.clone()), ..PullOptions::default() })
    }

    /// Pulls an image with options. The name is a reference, or `TRANSPORT:details` for an archive, a layout or a
    /// directory. An id, as [`is_id`] defines it, is only looked up in the cache; so is every reference in a build without
    /// the feature `registry`.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn pull_with(&self, name: &str, options: &PullOptions) -> Result<Image> {
        let is_archive = ImageName::is_archive(name);
        // A registry cannot look up an image by its id.
        if is_id(name) || !is_archive && cfg!(not(feature = "registry")) {
            let image = self.find(name, options.platform.as_ref())?;
            return self.admit_cached(&image).map(|()| image);
        }
        // It is here already. A pull from the cache would forget the index that the name resolved to.
        if let Some(cached) = name.strip_prefix("vmroot:").filter(|cached| !cached.is_empty()) {
            let platform = options.platform.as_ref().or(self.platform.as_ref());
            let image = self.find_or(cached, platform, Fallback::Only)?;
            return self.admit_cached(&image).map(|()| image);
        }
        self.try_sources(name, options.platform.as_ref(), |source, references| {
            // A file is always read: its images may have changed under the same names.
            let policy = if is_archive { PullPolicy::Always } else { options.policy };
            let default = if is_archive { Fallback::Only } else { self.pull_fallback(&references) };
            let (platform, fallback) = self.platform(options.platform.as_ref(), default);
            let loaded_from = is_archive.then(|| ImageName::with_absolute_path(&source.name()));
            let request = PullRequest { policy, loaded_from, ..self.request(references, platform, fallback) };
            Ok(self.store.pull(&*source, &request, &self.progress)?)
        })
    }

    /// Returns an image from the cache, or pulls it if the policy of `options` says so. Programs that run images call this.
    ///
    /// An archive, a layout or a directory is read again, because it may have been replaced since it was loaded; with
    /// [`PullPolicy::Never`], its image must have been loaded. Ids and their beginnings are only looked up in the cache.
    /// With [`PullPolicy::Missing`], a damaged image is pulled again, too.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// use vmroot::PullOptions;
    ///
    /// let image = client.image("oci:../../testdata/demo:demo", &PullOptions::default())?;
    /// // The first digits of the id are looked up in the cache.
    /// let digits = &image.id().hex()[..4];
    /// assert_eq!(client.image(digits, &PullOptions::default())?.id(), image.id());
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - The errors of [`Self::find`] for an id, and with [`PullPolicy::Never`].
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the image cannot be pulled, and the cache has it for other
    ///   platforms only.
    /// - Otherwise the errors of [`Self::pull`].
    pub fn image(&self, name: &str, options: &PullOptions) -> Result<Image> {
        if ImageName::is_archive(name) && options.policy != PullPolicy::Never {
            return self.pull_with(name, options);
        }
        let platform = options.platform.as_ref().or(self.platform.as_ref());
        let find_error = match (self.find(name, platform), options.policy) {
            // A registry has no names for an id or the beginning of one.
            (Ok(image), policy) if policy != PullPolicy::Always || !is_name_of(&image, name) => {
                match self.admit_cached(&image) {
                    // The registry may have signatures that the cache lacks.
                    Err(error) if error.kind() == ErrorKind::Policy && self.can_pull_again(&image, name, options) => {
                        Some(error)
                    }
                    admitted => return admitted.map(|()| image),
                }
            }
            (Ok(_), _) => None,
            (Err(error), PullPolicy::Never) => return Err(error),
            (Err(error), _) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => {
                return Err(error);
            }
            (Err(error), _) if is_id(name) || self.is_id_prefix(name)? => return Err(error),
            (Err(error), _) => Some(error),
        };
        self.pull_with(name, options).map_err(|error| error.after_find(find_error))
    }

    /// Returns whether [`Self::pull_with`] may fetch an image again that [`Self::image`] returned for `name`, for example
    /// because [`Self::root`] found it damaged: the policy allows it, and `name` names it in a registry.
    pub fn can_pull_again(&self, image: &Image, name: &str, options: &PullOptions) -> bool {
        // An image under `localhost/` was made by other means, and a registry has another one under the short name.
        let own = image.record().reference.as_ref().map(Reference::name);
        let is_local = local_name(name).is_some_and(|local| own == Some(local.name()));
        options.policy != PullPolicy::Never
            && is_name_of(image, name)
            && !is_local
            && image.record().loaded_from.is_none()
    }

    /// Returns whether an id of an image in the cache begins with `name`.
    fn is_id_prefix(&self, name: &str) -> Result<bool> {
        Ok(!name.is_empty() && self.images()?.iter().any(|record| record.id().hex().starts_with(name)))
    }

    /// Loads the only image of a docker save archive, an OCI layout or an OCI archive, for a platform.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let image = client.load_from_tar("../../testdata/demo".as_ref(), &vmroot::Platform::linux("amd64")?)?;
    /// assert_eq!(image.record().reference.as_ref().unwrap().familiar(), "demo:latest");
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): the archive has several images, which the message lists.
    /// - The errors of [`Self::pull`].
    pub fn load_from_tar(&self, path: &Path, platform: &Platform) -> Result<Image> {
        let archive = self.archive(path)?;
        let image = archive.select(&ImageSelector::Only)?;
        let options = PullOptions { platform: Some(platform.clone()), ..PullOptions::default() };
        self.load(&archive, &image, &options)
    }

    /// Opens an archive, a layout or a directory of images.
    ///
    /// # Errors
    /// The archive cannot be read. The message names the member.
    pub fn archive(&self, path: &Path) -> Result<Archive> {
        Ok(Archive::open(path, &self.archive_options())?)
    }

    /// Loads one image of an archive, under its names in the archive.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn load(&self, archive: &Archive, image: &ArchiveImage, options: &PullOptions) -> Result<Image> {
        let source = archive.source(image)?;
        let (platform, fallback) = self.platform(options.platform.as_ref(), Fallback::Only);
        // A file is always read: its images may have changed under the same names.
        let references = image.references.clone();
        let loaded_from = Some(ImageName::with_absolute_path(&source.name()));
        let request = PullRequest { loaded_from, ..self.request(references, platform, fallback) };
        Ok(self.store.pull(&*source, &request, &self.progress)?)
    }

    /// Returns a request that always resolves the name at its source, and obeys the client's policy.
    fn request(&self, references: Vec<Reference>, platform: Platform, fallback: Fallback) -> PullRequest {
        PullRequest {
            references,
            platform,
            policy: PullPolicy::Always,
            fallback,
            loaded_from: None,
            admission: self.policy.clone(),
            signatures: SeenSignatures::default(),
        }
    }

    /// Describes an image in its registry or archive, without pulling it. [`Description::of`] describes one in the cache.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn describe_remote(&self, name: &str, platform: Option<&Platform>) -> Result<Description> {
        self.try_sources(name, platform, |source, references| {
            let default = if ImageName::is_archive(name) { Fallback::Only } else { Fallback::Single };
            let (platform, fallback) = self.platform(platform, default);
            let chosen = choose(&*source, &platform, fallback)?;
            Ok(Description::of_chosen(&chosen, references.first()))
        })
    }

    pub(super) fn archive_options(&self) -> ArchiveOptions {
        let progress = Arc::clone(&self.progress);
        let reading = move |done, total| progress.work(&WorkProgress::new(Work::ReadArchive, done, total));
        let limits = self.store.options().limits;
        ArchiveOptions { spool: self.temporary_dir().to_owned(), limits, reading: Some(Arc::new(reading)) }
    }

    /// Returns the platform to choose, and the fallback if no image matches it. A platform that is named has none.
    pub(super) fn platform(&self, named: Option<&Platform>, fallback: Fallback) -> (Platform, Fallback) {
        match named.or(self.platform.as_ref()) {
            Some(platform) => (platform.clone(), Fallback::Refuse),
            None => (Platform::host(), fallback),
        }
    }

    /// Returns the fallback for an image of a registry. The digest of a manifest names one image, for any platform.
    fn pull_fallback(&self, references: &[Reference]) -> Fallback {
        match self.fallback {
            Fallback::Refuse if references.iter().any(|reference| reference.digest().is_some()) => Fallback::Single,
            fallback => fallback,
        }
    }

    /// Returns the source of an image, and its references. `platform` is as for [`Self::source_of`].
    pub(super) fn source(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        if is_id(name) {
            check_name(name)?;
            return Err(vmroot_image_store::Error::NoSuchImage(name.to_owned()).into());
        }
        if !ImageName::has_transport(name) {
            return self.repository(Reference::parse(name)?);
        }
        self.source_of(&ImageName::parse(name)?, platform)
    }

    /// Calls `read` with the source of an image and its references. A name with several meanings is tried with each, until
    /// one succeeds.
    pub(super) fn try_sources<T>(
        &self,
        name: &str,
        platform: Option<&Platform>,
        read: impl Fn(Box<dyn ImageSource>, Vec<Reference>) -> Result<T>,
    ) -> Result<T> {
        if is_id(name) || ImageName::has_transport(name) {
            let (source, references) = self.source(name, platform)?;
            return read(source, references);
        }
        let mut failed = Vec::new();
        for reference in self.candidates(name)? {
            let result = self.repository(reference.clone()).and_then(|(source, references)| read(source, references));
            match result {
                Err(error) if error.kind() != ErrorKind::Cancelled => failed.push((reference, error)),
                result => return result,
            }
        }
        Err(crate::Error::no_candidate(name, failed))
    }

    /// Returns the references that a name without a transport may stand for.
    #[cfg(feature = "registry")]
    fn candidates(&self, name: &str) -> Result<Vec<Reference>> {
        self.registries.candidates(name)
    }

    /// Returns the reference that a name without a transport stands for.
    #[cfg(not(feature = "registry"))]
    fn candidates(&self, name: &str) -> Result<Vec<Reference>> {
        Ok(vec![Reference::parse(name)?])
    }

    #[cfg(feature = "registry")]
    pub(super) fn repository(&self, reference: Reference) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        let reference = match (reference.tag(), reference.digest()) {
            (None, None) => reference.with_tag("latest").expect("latest is a tag"),
            _ => reference,
        };
        Ok((Box::new(self.registries.source(&reference)?), vec![reference]))
    }

    #[cfg(not(feature = "registry"))]
    pub(super) fn repository(&self, reference: Reference) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        Err(crate::Error::no_registry(reference))
    }
}

/// Returns whether `name` names an image in a source: it is neither its id nor the beginning of that.
fn is_name_of(image: &Image, name: &str) -> bool {
    image.record().reference.is_some() && !is_id(name) && !image.id().hex().starts_with(name)
}
