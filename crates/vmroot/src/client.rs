//! The client: a cache, and the operations on its images.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_cache::Usage;
use vmroot_container_fs::{ContainerFs, LayerFiles};
use vmroot_image_store::{
    Collection, Fallback, Image, NoProgress, Progress, PullPolicy, PullRequest, Record, Removal, Store, StoreOptions,
    VerifyReport, choose,
};
use vmroot_model::{Digest, Platform, Reference};
use vmroot_output::Cancel;
use vmroot_transport::{Archive, ArchiveImage, ArchiveOptions, ImageName, ImageSelector, ImageSource};

#[cfg(feature = "registry")]
use crate::RegistryOptions;
use crate::{Description, Result, TopOptions};

/// Options of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Options of the cache: its directory, limits and parallelism.
    pub store: StoreOptions,
    /// Options of registries: credentials, proxies, retries and timeouts. [`Client::new`] replaces
    /// [`cancel`](RegistryOptions::cancel) with [`Self::cancel`], so that one flag cancels all work.
    #[cfg(feature = "registry")]
    pub registry: RegistryOptions,
    /// The platform of images in calls that name none.
    ///
    /// With `None`, the host's platform is only preferred: the image of an archive or a layout with one image, or of a
    /// name without an index, is accepted for any platform. [`Record::platform`] is the platform of the result.
    pub platform: Option<Platform>,
}

impl ClientOptions {
    /// Returns default options for a cache in `directory`: no credentials, and no platform.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            #[cfg(feature = "registry")]
            registry: RegistryOptions::default(),
            store: StoreOptions::new(directory),
            platform: None,
        }
    }

    /// Returns the cancellation of the client, which ends all its work early, from any thread.
    /// [`Client::with_cancel`] cancels single calls.
    pub fn cancel(&self) -> Cancel {
        self.store.cancel.clone()
    }
}

/// Options of one pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The platform of the image. An image for another platform is an error. `None` means
    /// [`ClientOptions::platform`].
    pub platform: Option<Platform>,
    /// When the registry is asked for the name: always, only if the image is not in the cache, or never.
    pub policy: PullPolicy,
}

/// A cache of images, and the operations on it.
///
/// Clones share the cache and its connections, and are cheap. Threads may share a client or its clones,
/// and call its methods at the same time. [`Client::collect`] keeps the files that another thread pulls, verifies, or
/// holds as an [`Image`]. A [`ContainerFs`] holds its files open. While another client of the same cache exists, in
/// this process or another, [`Client::collect`] returns an error.
///
/// ```
/// use vmroot::{Client, ClientOptions};
///
/// # let directory = tempfile::tempdir().unwrap();
/// let client = Client::new(ClientOptions::new(directory.path()))?;
/// assert_eq!(client.cache_dir(), directory.path());
/// assert!(client.images()?.is_empty());
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Progress and cancellation
///
/// [`Client::with_progress`] and [`Client::with_cancel`] return clones for single calls.
///
/// ```
/// # let cache = tempfile::tempdir().unwrap();
/// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
/// use std::sync::Arc;
/// use vmroot::{Cancel, ErrorKind, ProgressMeter};
///
/// let meter = ProgressMeter::new(|progress| eprintln!("{} bytes", progress.image_current));
/// let stop = Cancel::new();
/// stop.cancel();
/// let call = client.with_progress(Arc::new(meter)).with_cancel(stop);
/// let error = call.pull("oci:../../testdata/demo:demo").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Cancelled);
/// client.pull("oci:../../testdata/demo:demo")?;
/// # Ok::<(), vmroot::Error>(())
/// ```
///
/// # Async code
///
/// All methods block: they wait for registries, disks and locks. Asynchronous code calls them on threads for blocking
/// work, with a clone of the client. A call from a task also works, with any runtime, but blocks the other tasks of its
/// thread. Dropping the future does not end the work; a [`Cancel`] does.
///
/// ```
/// use vmroot::{Cancel, Client, Image};
///
/// /// Cancels the work when the future of `pull` is dropped.
/// struct CancelOnDrop(Cancel);
///
/// impl Drop for CancelOnDrop {
///     fn drop(&mut self) {
///         self.0.cancel();
///     }
/// }
///
/// async fn pull(client: &Client, name: String) -> vmroot::Result<Image> {
///     let cancel = Cancel::new();
///     let call = client.with_cancel(cancel.clone());
///     let _guard = CancelOnDrop(cancel);
///     let work = tokio::task::spawn_blocking(move || call.pull(&name));
///     work.await.expect("the work does not panic")
/// }
/// # let cache = tempfile::tempdir().unwrap();
/// # let client = Client::new(vmroot::ClientOptions::new(cache.path()))?;
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # runtime.block_on(pull(&client, "oci:../../testdata/demo:demo".to_owned()))?;
/// # Ok::<(), vmroot::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    store: Store,
    #[cfg(feature = "registry")]
    registry: vmroot_registry::Client,
    platform: Option<Platform>,
    progress: Arc<dyn Progress>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Client {
    /// Opens a cache, which is created if it is missing.
    ///
    /// # Errors
    /// - The cache cannot be created or opened.
    /// - A certificate file cannot be read, or a proxy is not a URL.
    pub fn new(options: ClientOptions) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "registry")]
            registry: vmroot_registry::Client::new(RegistryOptions { cancel: options.cancel(), ..options.registry })?,
            store: Store::open(options.store)?,
            platform: options.platform,
            progress: Arc::new(NoProgress),
        })
    }

    /// Returns a clone whose work is cancelled by `cancel`, and no longer by [`ClientOptions::cancel`]. A
    /// [child](Cancel::child) of that is cancelled by both.
    pub fn with_cancel(&self, cancel: Cancel) -> Self {
        Self {
            #[cfg(feature = "registry")]
            registry: self.registry.with_cancel(cancel.clone()),
            store: self.store.with_cancel(cancel),
            ..self.clone()
        }
    }

    /// Returns a clone whose calls report their progress to `progress`.
    pub fn with_progress(&self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self.clone() }
    }

    /// Returns the directory of the cache.
    pub fn cache_dir(&self) -> &Path {
        self.store.directory()
    }

    /// Returns the client for registries.
    #[cfg(feature = "registry")]
    pub fn registry(&self) -> &vmroot_registry::Client {
        &self.registry
    }

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
        if is_id(name) {
            // A registry cannot look up an image by its id.
            return self.find(name, options.platform.as_ref());
        }
        let is_archive = is_archive(name);
        if !is_archive && cfg!(not(feature = "registry")) {
            return self.find(name, options.platform.as_ref());
        }
        let (source, references) = self.source(name)?;
        // A file is always read: its images may have changed under the same names.
        let policy = if is_archive { PullPolicy::Always } else { options.policy };
        let (platform, fallback) = self.platform(options.platform.as_ref(), is_archive);
        let loaded_from = is_archive.then(|| source.name());
        let request = PullRequest { references, platform, policy, fallback, loaded_from };
        Ok(self.store.pull(&*source, &request, &self.progress)?)
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
        let (platform, fallback) = self.platform(options.platform.as_ref(), true);
        // A file is always read: its images may have changed under the same names.
        let references = image.references.clone();
        let loaded_from = Some(source.name());
        let request = PullRequest { references, platform, policy: PullPolicy::Always, fallback, loaded_from };
        Ok(self.store.pull(&*source, &request, &self.progress)?)
    }

    /// Describes an image in its registry or archive, without pulling it. [`Description::of`] describes one in the cache.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn describe_remote(&self, name: &str, platform: Option<&Platform>) -> Result<Description> {
        let (source, references) = self.source(name)?;
        let (platform, fallback) = self.platform(platform, is_archive(name));
        let chosen = choose(&*source, &platform, fallback)?;
        Ok(Description::of_chosen(&chosen, references.first()))
    }

    /// Returns the records of all images in the cache, ordered by name.
    ///
    /// # Errors
    /// The records cannot be listed.
    pub fn images(&self) -> Result<Vec<Record>> {
        Ok(self.store.images()?)
    }

    /// Finds an image in the cache by reference, id, or unique prefix of an id. `TRANSPORT:details` names the same
    /// image as for [`Self::pull_with`]: `docker://NAME` is `NAME`, and a file is read to find out its image.
    ///
    /// Without a platform, an image for the host is preferred, and else the only image is returned.
    /// [`Record::platform`] is its platform.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the cache has no such image, or not for the platform.
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the name is malformed.
    /// - [`ErrorKind::Other`](crate::ErrorKind::Other): the beginning of an id is that of several images.
    /// - The file after `TRANSPORT:` cannot be read.
    pub fn find(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        if !ImageName::has_transport(name) {
            return match self.store.find(name, platform) {
                Err(vmroot_image_store::Error::NoSuchImage(missing)) => {
                    check_name(name)?;
                    Err(vmroot_image_store::Error::NoSuchImage(missing).into())
                }
                found => Ok(found?),
            };
        }
        match ImageName::parse(name)? {
            ImageName::Docker(reference) => Ok(self.store.find(&reference.to_string(), platform)?),
            ImageName::Archive { .. } => self.find_loaded(name, platform),
        }
    }

    /// Finds the image of a file, if it was loaded before.
    fn find_loaded(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let (source, references) = self.source(name)?;
        let (platform, fallback) = self.platform(platform, true);
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

    /// Removes the name by which an image was found. [`Self::collect`] frees the space once the image has no name and no
    /// other thread holds it.
    ///
    /// # Errors
    /// The record cannot be removed.
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

    /// Removes every file that no image needs, and returns the files and their size. Other threads of this client may
    /// continue meanwhile.
    ///
    /// # Errors
    /// - [`ErrorKind::InUse`](crate::ErrorKind::InUse): another client or process has the cache open.
    /// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): a record is damaged, so the files that it needs are
    ///   unknown.
    pub fn collect(&self) -> Result<Collection> {
        Ok(self.store.collect()?)
    }

    /// Returns the files that [`Self::collect`] would remove now.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub fn list_unneeded(&self) -> Result<Collection> {
        Ok(self.store.list_unneeded()?)
    }

    /// Verifies every file in the cache, and repairs what it can. Damage is part of the result, and no error.
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

    /// Returns what cancels the work of this clone.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.store.options().cancel
    }

    pub(crate) fn top_options(&self) -> TopOptions {
        let StoreOptions { limits, build, cancel, .. } = self.store.options().clone();
        TopOptions { directory: self.cache_dir().to_owned(), limits, build, cancel }
    }

    fn archive_options(&self) -> ArchiveOptions {
        ArchiveOptions { spool: self.store.directory().to_owned(), limits: self.store.options().limits }
    }

    /// Returns the platform to choose, and the fallback if no image matches it.
    fn platform(&self, named: Option<&Platform>, is_archive: bool) -> (Platform, Fallback) {
        match named.or(self.platform.as_ref()) {
            Some(platform) => (platform.clone(), Fallback::Refuse),
            None if is_archive => (Platform::host(), Fallback::Only),
            None => (Platform::host(), Fallback::Single),
        }
    }

    /// Returns the source of an image, and its references.
    fn source(&self, name: &str) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        if is_id(name) {
            check_name(name)?;
            return Err(vmroot_image_store::Error::NoSuchImage(name.to_owned()).into());
        }
        if !ImageName::has_transport(name) {
            return self.repository(Reference::parse(name)?);
        }
        match ImageName::parse(name)? {
            ImageName::Docker(reference) => self.repository(reference),
            ImageName::Archive { format, path, selector } => {
                let archive = Archive::open_as(format, &path, &self.archive_options())?;
                let image = archive.select(&selector)?;
                let source = archive.source(&image)?;
                Ok((source, image.references))
            }
        }
    }

    #[cfg(feature = "registry")]
    fn repository(&self, reference: Reference) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        let reference = match (reference.tag(), reference.digest()) {
            (None, None) => reference.with_tag("latest").expect("latest is a tag"),
            _ => reference,
        };
        let source = vmroot_transport::RegistrySource::new(self.registry.clone(), reference.clone());
        Ok((Box::new(source), vec![reference]))
    }

    #[cfg(not(feature = "registry"))]
    fn repository(&self, reference: Reference) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        Err(crate::Error::no_registry(reference))
    }
}

/// The number of digits of the short ids that tables print.
const SHORT_ID: usize = 12;
/// The number of digits of a whole id.
const WHOLE_ID: usize = 64;

/// Whether a name is read as the id of an image or as the beginning of one: `sha256:` and any text, or 12 to 64
/// lowercase hexadecimal digits. Such a name is only looked up in the cache, never in a registry.
///
/// Fewer digits may be the beginning of an id, but also the name of a repository, such as `cafe`.
///
/// ```
/// assert!(vmroot::is_id("sha256:4bcf") && vmroot::is_id("4bcff63911fc"));
/// assert!(!vmroot::is_id("cafe") && !vmroot::is_id("docker://4bcff63911fc"));
/// ```
pub fn is_id(name: &str) -> bool {
    name.starts_with("sha256:") || (SHORT_ID..=WHOLE_ID).contains(&name.len()) && is_hex(name)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Fails if a name is neither a reference, nor an id or the beginning of one, nor `TRANSPORT:details`.
fn check_name(name: &str) -> Result<()> {
    let (is_digest, hex) = name.strip_prefix("sha256:").map_or((false, name), |hex| (true, hex));
    if is_hex(hex) && (1..=WHOLE_ID).contains(&hex.len()) {
        return Ok(());
    }
    if is_digest {
        Digest::parse(name)?;
    } else if ImageName::has_transport(name) {
        ImageName::parse(name)?;
    } else {
        Reference::parse(name)?;
    }
    Ok(())
}

/// Whether a name refers to an image in a file or a directory.
fn is_archive(name: &str) -> bool {
    ImageName::has_transport(name) && !matches!(ImageName::parse(name), Ok(ImageName::Docker(_)))
}
