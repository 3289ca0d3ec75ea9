//! The store: a cache of images.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmroot_cache::{Cache, Presence, Usage};
use vmroot_compress::Limits;
use vmroot_layer_index::BuildOptions;
use vmroot_output::Cancel;

use crate::catalogue::Catalogue;
use crate::in_use::InUse;
use crate::{Error, Result};

/// Options of a [`Store`].
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The directory of the cache, created if it is missing.
    pub directory: PathBuf,
    /// Limits for the decompression of a layer.
    pub limits: Limits,
    /// Limits for a layer's index.
    pub build: BuildOptions,
    /// The number of layers that are fetched and indexed at once, and of files that are verified at once. 0 counts as 1.
    pub parallel: usize,
    /// The disk space in bytes that the cache may take. Before more is pulled, loaded or committed, the least recently
    /// used images are removed: see [`Store::collect_with`]. `None` for no limit.
    pub max_size: Option<u64>,
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
            limits: Limits::default(),
            build: BuildOptions::default(),
            parallel: 4,
            max_size: None,
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
}

impl Store {
    /// Opens the store in the directory of `options`, or creates an empty one.
    ///
    /// # Errors
    /// - [`Error::Cache`] if the directory cannot be created or locked, or if the wait for its lock is cancelled.
    pub fn open(options: StoreOptions) -> Result<Self> {
        let cache = Cache::open(&options.directory)?;
        let presence = cache.enter(&options.purpose, &mut until_cancelled(&options.cancel))?;
        let in_use = InUse::new(&cache, presence.uses());
        let store = Self { cache, options, presence: Arc::new(presence), in_use, catalogue: Catalogue::default() };
        store.recover()?;
        Ok(store)
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
        Ok(self.cache.usage()?)
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Returns a callback that waits for a lock until the work is cancelled.
pub(crate) fn until_cancelled(cancel: &Cancel) -> impl FnMut(&Path) -> ControlFlow<()> {
    move |_| cancel.control_flow()
}
