//! The client: a cache, and the operations on its images.

mod archives;
mod cache;
mod changes;
mod commit;
#[cfg(feature = "registry")]
mod configuration;
mod copy;
mod delete;
mod documents;
mod leases;
mod policy;
mod provenance;
mod pull;
#[cfg(feature = "registry")]
mod registry;
mod repair;
#[cfg(all(feature = "registry", feature = "trust"))]
mod sign;
mod store;
#[cfg(feature = "registry")]
mod sync;
mod transports;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_image_store::{Fallback, NoProgress, Progress, Store, StoreOptions};
use vmroot_model::Platform;
use vmroot_output::Cancel;
use vmroot_transport::Admission;

pub use self::changes::Why;
pub use self::commit::{CommitLayer, CommitOptions};
#[cfg(feature = "registry")]
pub use self::configuration::RegistryConfiguration;
pub use self::documents::ImageDocuments;
pub use self::policy::PolicyReport;
pub use self::provenance::Provenance;
pub use self::pull::PullOptions;
#[cfg(feature = "registry")]
pub use self::registry::{ImageInstance, is_tag_list_refused};
pub use self::repair::RepairOptions;
#[cfg(all(feature = "registry", feature = "trust"))]
pub use self::sign::{Attestation, SignatureForms};
#[cfg(feature = "registry")]
pub use self::sync::{SyncDestination, SyncItem, SyncOptions, SyncSource, SyncTargets};
pub use self::transports::TransportOptions;
#[cfg(feature = "registry")]
use crate::RegistryOptions;
use crate::{Result, TopOptions};

/// Options of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Options of the cache: its directory, shared caches, limits and parallelism.
    pub store: StoreOptions,
    /// Options of registries: credentials, proxies, retries and timeouts. [`Client::new`] replaces
    /// [`cancel`](RegistryOptions::cancel) with [`Self::cancel`], so that one flag cancels all work.
    #[cfg(feature = "registry")]
    pub registry: RegistryOptions,
    /// The configuration that the user has for registries: mirrors, short names, certificates. By default there is none.
    /// It replaces [`hosts`](RegistryOptions::hosts). Its credential files are also a source of
    /// [`credentials`](RegistryOptions::credentials), if the caller sets them so.
    #[cfg(feature = "registry")]
    pub configuration: Option<RegistryConfiguration>,
    /// The platform of images in calls that name none. With `None`, it is the host's.
    pub platform: Option<Platform>,
    /// The image to take, without a platform here and in a call, if there is none for the host.
    ///
    /// The default is none: the call fails with the platforms for which there are images. The only image of an archive, a
    /// layout or a directory is accepted for any platform in each case; so is an image that an id or the digest of its
    /// manifest names. [`Record::platform`](crate::Record::platform) is the platform of the result.
    pub fallback: Fallback,
    /// The policy on signatures that each image must meet, when it is pulled, loaded, copied, or used from the cache. By
    /// default there is none, and no signature is read. The feature `trust` has the policies of containers/image, and the
    /// crate `signatures` the trait of other judges.
    pub policy: Option<Admission>,
    /// Options of `docker-daemon:`, `containers-storage:` and `oci:`.
    pub transports: TransportOptions,
    /// The directory for temporary files of archives. The default is the cache. Of a cache that cannot be written, it also
    /// has the files that are otherwise written there.
    pub temporary_dir: Option<PathBuf>,
}

impl ClientOptions {
    /// Returns default options for a cache in `directory`: no credentials, and no platform.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            #[cfg(feature = "registry")]
            registry: RegistryOptions::default(),
            #[cfg(feature = "registry")]
            configuration: None,
            store: StoreOptions::new(directory),
            platform: None,
            fallback: Fallback::Refuse,
            policy: None,
            transports: TransportOptions::default(),
            temporary_dir: None,
        }
    }

    /// Returns the cancellation of the client, which ends all its work early, from any thread.
    /// [`Client::with_cancel`] cancels single calls.
    pub fn cancel(&self) -> Cancel {
        self.store.cancel.clone()
    }
}

/// A cache of images, and the operations on it.
///
/// Clones share the cache and its connections, and are cheap. Threads may share a client or its clones, and call its
/// methods at the same time. So may other clients of the same cache, in this process or another. [`Client::collect`] keeps
/// the files that another thread or process pulls, verifies, or holds as an [`Image`](crate::Image). A
/// [`ContainerFs`](crate::ContainerFs) holds its files open.
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
    registries: configuration::Registries,
    platform: Option<Platform>,
    fallback: Fallback,
    policy: Option<Admission>,
    transports: TransportOptions,
    temporary_dir: Option<PathBuf>,
    pub(crate) progress: Arc<dyn Progress>,
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
            registries: configuration::Registries::new(
                RegistryOptions { cancel: options.cancel(), ..options.registry },
                options.configuration,
            )?,
            store: Store::open(options.store)?,
            platform: options.platform,
            fallback: options.fallback,
            policy: options.policy,
            transports: options.transports,
            temporary_dir: options.temporary_dir,
            progress: Arc::new(NoProgress),
        })
    }

    /// Returns a clone whose work is cancelled by `cancel`, and no longer by [`ClientOptions::cancel`]. A
    /// [child](Cancel::child) of that is cancelled by both.
    pub fn with_cancel(&self, cancel: Cancel) -> Self {
        Self {
            #[cfg(feature = "registry")]
            registries: self.registries.with_cancel(&cancel),
            store: self.store.with_cancel(cancel),
            ..self.clone()
        }
    }

    /// Returns a clone whose calls report their progress to `progress`.
    pub fn with_progress(&self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self.clone() }
    }

    /// Returns a clone that reaches registries with other options, such as those of one side of a copy. The
    /// cancellation is the client's.
    ///
    /// # Errors
    /// A certificate file cannot be read, or a proxy is not a URL.
    #[cfg(feature = "registry")]
    pub fn with_registry(&self, options: RegistryOptions) -> Result<Self> {
        self.with_registries(options, self.registries.configuration.clone())
    }

    /// Returns a clone that reaches registries with other options and another configuration. The cancellation is the
    /// client's.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let client = vmroot::Client::new(vmroot::ClientOptions::new(directory.path().join("cache")))?;
    /// # let registry = vmroot_testkit::registry::Registry::start();
    /// # registry.require(vmroot_testkit::registry::Auth::basic("user", "secret"));
    /// # registry.put_manifest("team/app", Some("v1"), "application/vnd.oci.image.index.v1+json", b"{}");
    /// # let host = registry.host();
    /// # let auth_file = directory.path().join("auth.json");
    /// # let auths = format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#);
    /// # std::fs::write(&auth_file, auths).unwrap();
    /// use std::sync::Arc;
    /// use vmroot::{Configuration, Locations, Reference, RegistryConfiguration, RegistryOptions};
    ///
    /// // The credentials are those of one file, and certificates and mirrors those of the system.
    /// let locations = Locations { auth_file: Some(auth_file), ..Locations::default() };
    /// let files = Arc::new(Configuration::new(locations));
    /// let options = RegistryOptions { credentials: Arc::clone(&files) as _, ..RegistryOptions::default() };
    /// let client = client.with_registries(options, Some(RegistryConfiguration::new(files)))?;
    /// assert_eq!(client.list_tags(&Reference::parse(&format!("{host}/team/app"))?)?, ["v1"]);
    /// # Ok::<(), vmroot::Error>(())
    /// ```
    ///
    /// # Errors
    /// A certificate file cannot be read, or a proxy is not a URL.
    #[cfg(feature = "registry")]
    pub fn with_registries(
        &self,
        options: RegistryOptions,
        configuration: Option<RegistryConfiguration>,
    ) -> Result<Self> {
        let options = RegistryOptions { cancel: self.cancel().clone(), ..options };
        Ok(Self { registries: configuration::Registries::new(options, configuration)?, ..self.clone() })
    }

    /// Returns a clone with another configuration for registries, in place of [`ClientOptions::configuration`].
    ///
    /// # Errors
    /// A certificate file cannot be read.
    #[cfg(feature = "registry")]
    pub fn with_configuration(&self, configuration: Option<RegistryConfiguration>) -> Result<Self> {
        self.with_registries(self.registries.named.options().clone(), configuration)
    }

    /// Returns the directory of the cache.
    pub fn cache_dir(&self) -> &Path {
        self.store.directory()
    }

    /// Returns the directories of the shared caches, in the order in which they are searched.
    pub fn shared_caches(&self) -> impl Iterator<Item = &Path> {
        self.store.shared_caches()
    }

    /// Returns whether this process may write to the cache. If it may not, the images can be read, and calls that write
    /// return an error.
    pub fn is_writable(&self) -> bool {
        self.store.is_writable()
    }

    /// Returns the directory for files of running work, such as layers on top of a root: the cache, or
    /// [`Self::temporary_dir`] if the cache cannot be written.
    pub fn scratch_dir(&self) -> &Path {
        if self.is_writable() { self.cache_dir() } else { self.temporary_dir() }
    }

    /// Returns the directory for temporary files of archives: that of the options, or the cache.
    pub fn temporary_dir(&self) -> &Path {
        self.temporary_dir.as_deref().unwrap_or_else(|| self.cache_dir())
    }

    /// Returns the client for registries.
    #[cfg(feature = "registry")]
    pub fn registry(&self) -> &vmroot_registry::Client {
        &self.registries.named
    }

    /// Returns the token that cancels the work of this clone.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.store.options().cancel
    }

    pub(crate) fn top_options(&self) -> TopOptions {
        let StoreOptions { limits, build, cancel, .. } = self.store.options().clone();
        TopOptions { directory: self.scratch_dir().to_owned(), limits, build, cancel }
    }
}
