//! The client: a cache, and the operations on its images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_cache::Usage;
use vmroot_container_fs::ContainerFs;
use vmroot_image_store::{
    Collection, Fallback, Image, NoProgress, Progress, PullPolicy, PullRequest, Record, Removal, Store, StoreOptions,
    VerifyReport, choose,
};
use vmroot_model::{Digest, Platform, Reference};
use vmroot_registry::Client as Registry;
use vmroot_transport::{Archive, ArchiveImage, ArchiveOptions, ImageName, ImageSelector, ImageSource, RegistrySource};

use crate::{Cancel, Description, RegistryOptions, Result, TopOptions};

/// Options of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Options of the cache: its directory, limits and parallelism.
    pub store: StoreOptions,
    /// Options of registries: credentials, proxies, retries and timeouts.
    pub registry: RegistryOptions,
    /// The platform of images in calls that name none.
    pub platform: Platform,
}

impl ClientOptions {
    /// Returns default options for a cache in `directory`: no credentials, and the host's platform.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let store = StoreOptions::new(directory);
        let registry = RegistryOptions { cancel: store.cancel.clone(), ..RegistryOptions::default() };
        Self { store, registry, platform: Platform::host() }
    }

    /// Returns the cancellation of the client, which ends all its work early, from any thread.
    pub fn cancel(&self) -> Cancel {
        self.store.cancel.clone()
    }
}

/// Options of one pull.
#[derive(Clone)]
pub struct PullOptions {
    /// The platform of the image. `None` means the client's platform.
    ///
    /// If this or [`ClientOptions::platform`] is set, an image for another platform is an error. Otherwise the host's
    /// platform is only preferred: the image of an archive or a layout with one image, or of a name without an index,
    /// is accepted for any platform. [`Record::platform`] is the platform of the result.
    pub platform: Option<Platform>,
    /// When the registry is asked for the name: always, only if the image is not in the cache, or never.
    pub policy: PullPolicy,
    /// Receives progress events.
    pub progress: Arc<dyn Progress>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { platform: None, policy: PullPolicy::default(), progress: Arc::new(NoProgress) }
    }
}

/// A cache of images, and the operations on it.
///
/// Threads may share a client, and call its methods at the same time. [`Client::collect`] keeps the files that another
/// thread pulls, verifies, or holds as an [`Image`]. A [`ContainerFs`] holds its files open. While another client of
/// the same cache exists, in this process or another, [`Client::collect`] returns an error.
///
/// All methods block: they wait for registries, disks and locks. Asynchronous code should call them through tokio's
/// `spawn_blocking` or on a thread of its own. A call from a task also works, with any runtime, but blocks the other
/// tasks of its thread.
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
#[derive(Debug)]
pub struct Client {
    store: Store,
    registry: Arc<Registry>,
    options: ClientOptions,
}

impl Client {
    /// Opens a cache, which is created if it is missing.
    ///
    /// # Errors
    /// - [`Error::Store`](crate::Error::Store): the cache cannot be created or opened.
    /// - [`Error::Registry`](crate::Error::Registry): a certificate file cannot be read.
    pub fn new(options: ClientOptions) -> Result<Self> {
        let store = Store::open(options.store.clone())?;
        let registry = Arc::new(Registry::new(options.registry.clone())?);
        Ok(Self { store, registry, options })
    }

    /// Returns the directory of the cache.
    pub fn cache_dir(&self) -> &Path {
        self.store.directory()
    }

    /// Returns the client for registries.
    pub fn registry(&self) -> &Registry {
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
    /// - [`Error::Model`](crate::Error::Model): the name is malformed.
    /// - [`Error::Source`](crate::Error::Source): the archive or layout cannot be read.
    /// - [`Error::Store`](crate::Error::Store): the image does not exist for the platform, cannot be fetched, fails its
    ///   verification, exceeds a limit, or cannot be stored. [`Error::kind`](crate::Error::kind) tells these causes
    ///   apart.
    pub fn pull(&self, name: &str) -> Result<Image> {
        self.pull_with(name, &PullOptions::default())
    }

    /// Pulls an image for an architecture of Linux: `arm64`, `aarch64`, `arm/v7`, `x86_64`…
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let image = client.pull_for_arch("oci:../../testdata/demo:demo", "aarch64")?;
    /// assert_eq!(image.config().architecture(), "arm64");
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn pull_for_arch(&self, name: &str, architecture: &str) -> Result<Image> {
        let platform = Some(Platform::linux(architecture)?);
        self.pull_with(name, &PullOptions { platform, ..PullOptions::default() })
    }

    /// Pulls an image with options. The name is a reference, or `TRANSPORT:details` for an archive, a layout or a
    /// directory. An id, as [`is_id`] defines it, is only looked up in the cache.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn pull_with(&self, name: &str, options: &PullOptions) -> Result<Image> {
        if is_id(name) {
            // A registry cannot look up an image by its id.
            return self.find(name, options.platform.as_ref());
        }
        let (source, references) = self.source(name)?;
        let is_archive = is_archive(name);
        // A file is always read: its images may have changed under the same names.
        let policy = if is_archive { PullPolicy::Always } else { options.policy };
        let (platform, fallback) = self.platform(options.platform.as_ref(), is_archive);
        let loaded_from = is_archive.then(|| source.name());
        let request = PullRequest { references, platform, policy, fallback, loaded_from };
        Ok(self.store.pull(&*source, &request, &options.progress)?)
    }

    /// Loads the only image of a docker save archive, an OCI layout or an OCI archive, for an architecture of Linux.
    ///
    /// ```
    /// # let cache = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(cache.path()))?;
    /// let image = client.load_from_tar("../../testdata/demo".as_ref(), "amd64")?;
    /// assert_eq!(image.record().reference.as_ref().unwrap().familiar(), "demo:latest");
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::Source`](crate::Error::Source): the archive cannot be read, or has several images, which the error
    ///   lists.
    /// - The errors of [`Self::pull`].
    pub fn load_from_tar(&self, path: &Path, architecture: &str) -> Result<Image> {
        let archive = self.archive(path)?;
        let image = archive.select(&ImageSelector::Only)?;
        let options = PullOptions { platform: Some(Platform::linux(architecture)?), ..PullOptions::default() };
        self.load(&archive, &image, &options)
    }

    /// Opens an archive, a layout or a directory of images.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source): the archive cannot be read. The error names the member.
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
        Ok(self.store.pull(&*source, &request, &options.progress)?)
    }

    /// Describes an image in its registry or archive, without pulling it.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn describe_remote(&self, name: &str, platform: Option<&Platform>) -> Result<Description> {
        let (source, references) = self.source(name)?;
        let (platform, fallback) = self.platform(platform, is_archive(name));
        let chosen = choose(&*source, &platform, fallback)?;
        Ok(Description::of_chosen(&chosen, references.first()))
    }

    /// Describes an image in the cache.
    pub fn describe(&self, image: &Image) -> Description {
        Description::of_record(image.record(), image.config())
    }

    /// Returns the records of all images in the cache, ordered by name.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store): the records cannot be listed.
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
    /// - [`Error::Store`](crate::Error::Store): the cache has no such image, or several.
    /// - [`Error::Model`](crate::Error::Model): the name is malformed.
    /// - [`Error::Source`](crate::Error::Source): the name after `TRANSPORT:` is malformed, or the file cannot be read.
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
    /// [`Error::Store`](crate::Error::Store): a file is missing or damaged, and cannot be rebuilt from the blobs in the
    /// cache.
    pub fn root(&self, image: &Image) -> Result<ContainerFs> {
        Ok(self.store.root(image)?)
    }

    /// Removes one name of an image, or all its names if `by_name` is false. [`Self::collect`] frees the space once no
    /// other thread holds the image.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store): a record cannot be removed.
    pub fn remove(&self, image: &Image, by_name: bool) -> Result<Removal> {
        Ok(self.store.remove(image, by_name)?)
    }

    /// Removes every file that no image needs, and returns the files and their size. With `dry_run`, nothing is
    /// removed. Other threads of this client may continue meanwhile.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store): another client or process has the cache open, or a record is damaged.
    pub fn collect(&self, dry_run: bool) -> Result<Collection> {
        Ok(self.store.collect(dry_run)?)
    }

    /// Verifies every file in the cache, and repairs what it can. Damage is part of the result, and no error.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store): the cache cannot be read.
    pub fn verify(&self, progress: &Arc<dyn Progress>) -> Result<VerifyReport> {
        Ok(self.store.verify(progress)?)
    }

    /// Returns the disk usage of the cache.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store): a directory cannot be listed.
    pub fn usage(&self) -> Result<Usage> {
        Ok(self.store.usage()?)
    }

    /// Rebuilds missing files of an image: the index and contents of each layer, and the index of its root.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn make_complete(&self, image: &Image) -> Result<()> {
        Ok(self.store.make_complete(image)?)
    }

    /// Returns the path of the index of an image's root. The file exists after [`Self::make_complete`].
    pub fn root_index(&self, image: &Image) -> PathBuf {
        self.store.root_index(image)
    }

    /// Returns the diff id of a layer, and the paths of its index and its contents.
    pub fn layer_files(&self, diff_id: &Digest) -> (Digest, PathBuf, PathBuf) {
        let (index, contents) = self.store.layer_files(diff_id);
        (*diff_id, index, contents)
    }

    pub(crate) fn cancel(&self) -> Cancel {
        self.options.cancel()
    }

    pub(crate) fn top_options(&self) -> TopOptions {
        let StoreOptions { limits, build, cancel, .. } = self.options.store.clone();
        TopOptions { directory: self.cache_dir().to_owned(), limits, build, cancel }
    }

    fn archive_options(&self) -> ArchiveOptions {
        ArchiveOptions { spool: self.store.directory().to_owned(), limits: self.options.store.limits }
    }

    /// Returns the platform to choose, and the fallback if no image matches it.
    fn platform(&self, named: Option<&Platform>, is_archive: bool) -> (Platform, Fallback) {
        let platform = named.unwrap_or(&self.options.platform);
        let fallback = match (named.is_some() || *platform != Platform::host(), is_archive) {
            (true, _) => Fallback::Refuse,
            (false, true) => Fallback::Only,
            (false, false) => Fallback::Single,
        };
        (platform.clone(), fallback)
    }

    /// Returns the source of an image, and its references.
    fn source(&self, name: &str) -> Result<(Box<dyn ImageSource>, Vec<Reference>)> {
        if is_id(name) {
            check_name(name)?;
            return Err(vmroot_image_store::Error::NoSuchImage(name.to_owned()).into());
        }
        if !ImageName::has_transport(name) {
            return Ok(self.repository(Reference::parse(name)?));
        }
        match ImageName::parse(name)? {
            ImageName::Docker(reference) => Ok(self.repository(reference)),
            ImageName::Archive { format, path, selector } => {
                let archive = Archive::open_as(format, &path, &self.archive_options())?;
                let image = archive.select(&selector)?;
                let source = archive.source(&image)?;
                Ok((source, image.references))
            }
        }
    }

    fn repository(&self, reference: Reference) -> (Box<dyn ImageSource>, Vec<Reference>) {
        let reference = match (reference.tag(), reference.digest()) {
            (None, None) => reference.with_tag("latest").expect("latest is a tag"),
            _ => reference,
        };
        (Box::new(RegistrySource::new(Arc::clone(&self.registry), reference.clone())), vec![reference])
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
