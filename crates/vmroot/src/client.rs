//! A client: a cache, and the ways into it.

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
use vmroot_transport::{
    Archive, ArchiveImage, ImageName, ImageSource, Options as ArchiveOptions, Pick, RegistrySource,
};

use crate::{Cancel, Description, RegistryOptions, Result, TopOptions};

/// How a client works.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The cache and the work in it.
    pub store: StoreOptions,
    /// The way to registries.
    pub registry: RegistryOptions,
    /// The platform of images when a call names none.
    pub platform: Platform,
}

impl ClientOptions {
    /// The defaults for a cache in `directory`: no credentials, the host's platform.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let store = StoreOptions::new(directory);
        let registry = RegistryOptions { cancel: store.cancel.clone(), ..RegistryOptions::default() };
        Self { store, registry, platform: Platform::host() }
    }

    /// Ends all work of the client early, from any thread.
    pub fn cancel(&self) -> Cancel {
        self.store.cancel.clone()
    }
}

/// How to get one image.
#[derive(Clone)]
pub struct PullOptions {
    /// The platform; the client's if there is none here.
    ///
    /// An image for another platform than one that is named, here or in [`ClientOptions::platform`], is refused. Where both
    /// are left alone, the host's is only preferred: an archive or a layout with one image, or a name that leads to one
    /// image and no index, gives that one. [`Record::platform`] says what it is for.
    pub platform: Option<Platform>,
    /// When to ask the registry what a name means.
    pub policy: PullPolicy,
    /// Whom to tell how far it is.
    pub progress: Arc<dyn Progress>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { platform: None, policy: PullPolicy::default(), progress: Arc::new(NoProgress) }
    }
}

/// A cache, and the ways into it.
///
/// Threads may share a client and call anything at once: [`Client::collect`] removes nothing that another thread is
/// pulling, checking or holding as an [`Image`], and a [`ContainerFs`] has its files open. Another client, in this process or
/// another, keeps its cache from being collected for as long as it lives.
///
/// All methods block: they wait for registries, disks and locks. In asynchronous code call them through tokio's
/// `spawn_blocking` or on a thread of your own. A call right from a task works too, with any runtime, but its thread runs no
/// other task meanwhile.
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
    /// A client with its cache, which is made if it is missing.
    ///
    /// # Errors
    /// [`Error::Store`] when the cache cannot be made, [`Error::Registry`] when a certificate file cannot be read.
    pub fn new(options: ClientOptions) -> Result<Self> {
        let store = Store::open(options.store.clone())?;
        let registry = Arc::new(Registry::new(options.registry.clone())?);
        Ok(Self { store, registry, options })
    }

    /// The directory of the cache.
    pub fn cache_dir(&self) -> &Path {
        self.store.directory()
    }

    /// The way to registries.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Pulls an image for the client's platform, if it is not here.
    ///
    /// A reference, `quay.io/fedora/fedora:41`, asks its registry; here, a layout stands in for one.
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
    /// Whatever name, registry, bytes and disk give cause for; [`Error::kind`] sorts them.
    pub fn pull(&self, name: &str) -> Result<Image> {
        self.pull_with(name, &PullOptions::default())
    }

    /// Pulls an image for an architecture, under any of its names: `arm64`, `aarch64`, `arm/v7`, `x86_64`…
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

    /// Gets an image: a reference, or `TRANSPORT:details` for one of an archive, a layout or a directory. An id, as
    /// [`is_id`] has it, is looked for among the images that are here.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn pull_with(&self, name: &str, options: &PullOptions) -> Result<Image> {
        if is_id(name) {
            // No registry knows images by their ids alone.
            return self.find(name, options.platform.as_ref());
        }
        let (source, references) = self.source(name)?;
        let is_archive = is_archive(name);
        // What a file holds is read each time: another may have taken its place under the same names.
        let policy = if is_archive { PullPolicy::Always } else { options.policy };
        let (platform, fallback) = self.platform(options.platform.as_ref(), is_archive);
        let loaded_from = is_archive.then(|| source.name());
        let request = PullRequest { references, platform, policy, fallback, loaded_from };
        Ok(self.store.pull(&*source, &request, &options.progress)?)
    }

    /// Loads the only image of a docker save archive, an OCI layout or an OCI archive, for an architecture.
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
    /// [`Error::Source`] says what is wrong with which member, and lists the images where there are several.
    pub fn load_from_tar(&self, path: &Path, architecture: &str) -> Result<Image> {
        let archive = self.archive(path)?;
        let image = archive.select(&Pick::Only)?;
        let options = PullOptions { platform: Some(Platform::linux(architecture)?), ..PullOptions::default() };
        self.load(&archive, &image, &options)
    }

    /// Opens an archive, a layout or a directory of images.
    ///
    /// # Errors
    /// [`Error::Source`] says what is wrong with which member.
    pub fn archive(&self, path: &Path) -> Result<Archive> {
        Ok(Archive::open(path, &self.archive_options())?)
    }

    /// Loads one image of an archive, under the names that the archive has for it.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn load(&self, archive: &Archive, image: &ArchiveImage, options: &PullOptions) -> Result<Image> {
        let source = archive.source(image)?;
        let (platform, fallback) = self.platform(options.platform.as_ref(), true);
        // What a file holds is read each time: another may have taken its place under the same names.
        let references = image.references.clone();
        let loaded_from = Some(source.name());
        let request = PullRequest { references, platform, policy: PullPolicy::Always, fallback, loaded_from };
        Ok(self.store.pull(&*source, &request, &options.progress)?)
    }

    /// What an image is, asked of its registry or archive; nothing is pulled.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn describe_remote(&self, name: &str, platform: Option<&Platform>) -> Result<Description> {
        let (source, references) = self.source(name)?;
        let (platform, fallback) = self.platform(platform, is_archive(name));
        let chosen = choose(&*source, &platform, fallback)?;
        Ok(Description::chosen(&chosen, references.first()))
    }

    /// What an image that is here is.
    pub fn describe(&self, image: &Image) -> Description {
        Description::of(image.record(), image.config())
    }

    /// Every image that is here, ordered by name.
    ///
    /// # Errors
    /// [`Error::Store`] when the records cannot be listed.
    pub fn images(&self) -> Result<Vec<Record>> {
        Ok(self.store.images()?)
    }

    /// Finds an image that is here by reference, id, or unique prefix of an id. `TRANSPORT:details` names the same image as
    /// for [`Self::pull_with`]: `docker://NAME` is `NAME`, and a file is looked into for which image it holds.
    ///
    /// Without a platform the host's comes first, then the only one that is here: [`Record::platform`] says which.
    ///
    /// # Errors
    /// [`Error::Store`] when there is none, or more than one; [`Error::Model`] and [`Error::Source`] for a name that no
    /// image can have; [`Error::Source`] for a file that cannot be read.
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

    /// Finds the image that a file holds, if it was loaded.
    fn find_loaded(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let (source, references) = self.source(name)?;
        let (platform, fallback) = self.platform(platform, true);
        let chosen = choose(&*source, &platform, fallback)?;
        let id = chosen.config.digest();
        let called = |reference: &Reference| self.store.find(&reference.to_string(), Some(&chosen.platform)).ok();
        if let Some(image) = references.iter().filter_map(called).find(|image| image.id() == id) {
            return Ok(image);
        }
        use vmroot_image_store::Error::NoSuchImage;
        self.store.find(&id.to_string(), None).map_err(|error| match error {
            NoSuchImage(_) => NoSuchImage(name.to_owned()).into(),
            error => error.into(),
        })
    }

    /// Opens the merged root of an image. Indexes that are missing or damaged are made again from blobs.
    ///
    /// The root has its files open, so it can be read even after the image was removed. The paths of its contents files are
    /// there for as long as the image has a name, or is held.
    ///
    /// # Errors
    /// [`Error::Store`] when a blob that is needed is not here.
    pub fn root(&self, image: &Image) -> Result<ContainerFs> {
        Ok(self.store.root(image)?)
    }

    /// Forgets a name of an image, or all its names when `by_name` is false. [`Self::collect`] frees the space, once no other
    /// thread holds the image.
    ///
    /// # Errors
    /// [`Error::Store`] when a record cannot be removed.
    pub fn remove(&self, image: &Image, by_name: bool) -> Result<Removal> {
        Ok(self.store.remove(image, by_name)?)
    }

    /// Removes every file that no image needs; with `dry_run` it only says which. Other threads of this client may go on.
    ///
    /// # Errors
    /// [`Error::Store`] when another client or process uses the cache.
    pub fn collect(&self, dry_run: bool) -> Result<Collection> {
        Ok(self.store.collect(dry_run)?)
    }

    /// Reads and checks everything in the cache, and mends what can be mended.
    ///
    /// # Errors
    /// [`Error::Store`] when the cache cannot be read at all; damage is in the result.
    pub fn verify(&self, progress: &Arc<dyn Progress>) -> Result<VerifyReport> {
        Ok(self.store.verify(progress)?)
    }

    /// How much disk the cache takes.
    ///
    /// # Errors
    /// [`Error::Store`] when a directory cannot be listed.
    pub fn usage(&self) -> Result<Usage> {
        Ok(self.store.usage()?)
    }

    /// Makes sure that all files of an image are here: the index and contents of each layer, and the root.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn make_complete(&self, image: &Image) -> Result<()> {
        Ok(self.store.make_complete(image)?)
    }

    /// The index of an image's root; [`Self::make_complete`] makes sure that it is there.
    pub fn root_index(&self, image: &Image) -> PathBuf {
        self.store.root_index(image)
    }

    /// A layer's diff id, its index and its contents.
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

    /// The wanted platform, and the one to take instead where the caller named none.
    fn platform(&self, named: Option<&Platform>, is_archive: bool) -> (Platform, Fallback) {
        let platform = named.unwrap_or(&self.options.platform);
        let fallback = match (named.is_some() || *platform != Platform::host(), is_archive) {
            (true, _) => Fallback::Refuse,
            (false, true) => Fallback::Only,
            (false, false) => Fallback::Single,
        };
        (platform.clone(), fallback)
    }

    /// Where an image comes from, and what it is called.
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
            ImageName::Archive { format, path, pick } => {
                let archive = Archive::open_as(format, &path, &self.archive_options())?;
                let image = archive.select(&pick)?;
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

/// Digits of the short ids that are printed in tables.
const SHORT_ID: usize = 12;
/// Digits of a whole id.
const WHOLE_ID: usize = 64;

/// Whether a name is meant as the id of an image or as the beginning of one: `sha256:` and anything, or 12 to 64
/// hexadecimal digits. Only images that are here are looked for by such a name; no registry is asked.
///
/// Fewer digits may begin an id too, but also be the name of a repository, such as `cafe`.
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

/// Refuses what is neither a reference, nor an id or the beginning of one, nor `TRANSPORT:details`.
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

/// Whether a name is of an image in a file or a directory.
fn is_archive(name: &str) -> bool {
    ImageName::has_transport(name) && !matches!(ImageName::parse(name), Ok(ImageName::Docker(_)))
}
