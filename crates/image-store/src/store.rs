//! The store: a cache of images.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_cache::{Cache, Presence, Usage};
use vmroot_compress::Limits;
use vmroot_encryption::DecryptionKeys;
use vmroot_layer_index::BuildOptions;
use vmroot_output::Cancel;

use crate::added_layer::AddedLayers;
use crate::catalogue::Catalogue;
use crate::configs::Configs;
use crate::in_use::InUse;
use crate::shared::Shared;
use crate::{Error, Result};

/// Options of a [`Store`].
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The directory of the cache.
    pub directory: PathBuf,
    /// Whether a missing cache is created. If not, it has no images, and calls that write return an error.
    pub create: bool,
    /// The directories of shared caches: caches of somebody else, in the order in which they are searched.
    ///
    /// Their images, layers, roots and blobs are used in place, and are not fetched or copied. They are only read, and
    /// without locks. One that cannot be read is left out, with a warning: its images are fetched then.
    pub shared: Vec<PathBuf>,
    /// Limits for the decompression of a layer.
    pub limits: Limits,
    /// Limits for a layer's index.
    pub build: BuildOptions,
    /// The number of layers that are fetched and indexed at once. 0 counts as 1. A verification reads as many files at once,
    /// and at least one for each core.
    pub parallel: usize,
    /// The disk space in bytes that the cache may take. Before more is pulled, loaded or committed, the least recently
    /// used images are removed: see [`Store::collect_with`]. `None` for no limit.
    pub max_size: Option<u64>,
    /// The keys that decrypt encrypted layers. None by default.
    pub decryption_keys: Arc<DecryptionKeys>,
    /// What the store is used for, such as `mount /mnt`. Other users of the cache see it.
    pub purpose: String,
    /// Cancels all work of the store, from any thread.
    pub cancel: Cancel,
}

impl StoreOptions {
    /// Returns the defaults for a cache in `directory`: four layers at once, and the default limits.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            create: true,
            shared: Vec::new(),
            limits: Limits::default(),
            build: BuildOptions::default(),
            parallel: 4,
            max_size: None,
            decryption_keys: Arc::default(),
            purpose: String::new(),
            cancel: Cancel::new(),
        }
    }
}

/// A store of images in a cache directory.
///
/// Threads may share one store or its clones without restrictions, and any number of stores and processes may use the
/// same directory: [`Store::collect`] keeps the files that others are using.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) cache: Cache,
    pub(crate) options: StoreOptions,
    pub(crate) presence: Arc<Presence>,
    /// Keeps collections from removing files that threads of this store use.
    pub(crate) in_use: InUse,
    /// The records of the images, as they were read last.
    pub(crate) catalogue: Catalogue,
    /// The configs that were read last.
    pub(crate) configs: Configs,
    /// The layers that no image has yet.
    pub(crate) added_layers: AddedLayers,
    /// Where else files are looked for.
    pub(crate) shared: Shared,
}

impl Store {
    /// Opens the store in the directory of `options`, or creates an empty one, unless [`StoreOptions::create`] is false.
    ///
    /// A directory that this process may not write to is opened for reading, without a lock. Its images can be read, and
    /// calls that write return an error.
    ///
    /// # Errors
    /// - [`Error::Cache`] if the directory cannot be created or locked, or if the wait for its lock is cancelled.
    pub fn open(options: StoreOptions) -> Result<Self> {
        let cache = match options.create {
            true => Cache::open(&options.directory)?,
            false => Cache::open_existing(&options.directory)?,
        };
        let shared = Shared::open(&options);
        let store = Self { shared, ..Self::enter(cache, options)? };
        // A reader sees the transaction as if it were complete.
        if store.is_writable() {
            store.recover()?;
        }
        Ok(store)
    }

    /// Opens the cache of somebody else, for reading.
    pub(crate) fn open_shared(options: StoreOptions) -> Result<Self> {
        let cache = Cache::open_shared(&options.directory)?;
        Self::enter(cache, options)
    }

    fn enter(cache: Cache, options: StoreOptions) -> Result<Self> {
        let presence = cache.enter(&options.purpose, &mut until_cancelled(&options.cancel))?;
        let in_use = InUse::new(&cache, presence.uses());
        Ok(Self {
            cache,
            options,
            presence: Arc::new(presence),
            in_use,
            catalogue: Catalogue::default(),
            configs: Configs::default(),
            added_layers: AddedLayers::default(),
            shared: Shared::default(),
        })
    }

    /// Returns a clone whose work is cancelled by `cancel`, and no longer by [`StoreOptions::cancel`]. A
    /// [child](Cancel::child) of that is cancelled by both.
    pub fn with_cancel(&self, cancel: Cancel) -> Self {
        let mut store = self.clone();
        store.options.cancel = cancel;
        store
    }

    /// Returns the options of the store.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Returns the directory of the cache.
    pub fn directory(&self) -> &Path {
        self.cache.layout().root()
    }

    /// Returns the disk space that the store takes.
    ///
    /// # Errors
    /// [`Error::Cache`] if a directory cannot be listed.
    pub fn usage(&self) -> Result<Usage> {
        if self.is_missing() { Ok(Usage::default()) } else { Ok(self.cache.usage()?) }
    }

    /// Returns whether there is no cache, and none is to be created.
    pub(crate) fn is_missing(&self) -> bool {
        !self.options.create && !self.cache.is_shared() && !Cache::exists(self.directory())
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Returns a callback that waits for a lock until the work is cancelled.
pub(crate) fn until_cancelled(cancel: &Cancel) -> impl FnMut(&Path) -> ControlFlow<()> {
    move |_| cancel.control_flow()
}
