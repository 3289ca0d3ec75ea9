//! The store: a cache with images in it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::ThreadPool;
use vmroot_cache::{Cache, Presence, Usage};
use vmroot_compress::Limits;
use vmroot_layer_index::BuildOptions;
use vmroot_output::Cancel;

use crate::in_use::InUse;
use crate::{Error, Result};

/// How a store works.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The directory of the cache; made if it is missing.
    pub directory: PathBuf,
    /// How far the compression of a layer may go.
    pub limits: Limits,
    /// What a layer may cost.
    pub build: BuildOptions,
    /// How many layers are fetched and indexed at once, 1 or more.
    pub parallel: usize,
    /// Ends all work early, from any thread.
    pub cancel: Cancel,
}

impl StoreOptions {
    /// The defaults for a cache in `directory`: four layers at once, and the limits' own defaults.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            limits: Limits::default(),
            build: BuildOptions::default(),
            parallel: 4,
            cancel: Cancel::new(),
        }
    }
}

/// Images in a cache.
///
/// While a store is open, no other process and no other `Store` can remove anything from its directory. Any number of
/// threads may use one store at once, for anything: [`Store::collect`] leaves alone what the others are working on.
#[derive(Debug)]
pub struct Store {
    pub(crate) cache: Cache,
    pub(crate) options: StoreOptions,
    pub(crate) pool: ThreadPool,
    /// Keeps other processes from removing anything.
    pub(crate) presence: Presence,
    /// Keeps a collection by this store from removing what its threads need.
    pub(crate) in_use: InUse,
}

impl Store {
    /// Opens the store, or makes an empty one.
    ///
    /// # Errors
    /// When the directory cannot be made or locked, or no threads can be started.
    pub fn open(options: StoreOptions) -> Result<Self> {
        let cache = Cache::open(&options.directory)?;
        let presence = cache.enter(&mut until_cancelled(&options.cancel))?;
        // Threads of a pool of our own: most of their time they wait for a registry or a disk.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(options.parallel.max(1))
            .thread_name(|number| format!("layer-{number}"))
            .build()
            .map_err(|error| Error::Threads(error.to_string()))?;
        Ok(Self { cache, options, pool, presence, in_use: InUse::default() })
    }

    /// The directory of the cache.
    pub fn directory(&self) -> &Path {
        self.cache.layout().root()
    }

    /// How much disk the store takes.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn usage(&self) -> Result<Usage> {
        Ok(self.cache.usage()?)
    }

    pub(crate) fn check_cancelled(&self) -> Result<()> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// Waits for a lock until the work is cancelled.
pub(crate) fn until_cancelled(cancel: &Cancel) -> impl FnMut(&Path) -> ControlFlow<()> {
    move |_| cancel.control_flow()
}
