//! Shared caches: caches of somebody else, whose files are used in place.
//!
//! A shared cache is only read, and without locks. It may disappear or change at any moment, so each of its files counts
//! as missing if it cannot be read or does not have the expected shape. The store's own cache comes first.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vmroot_cache::{BlobFile, Cache, Verdict};
use vmroot_container_fs::Contents;
use vmroot_errors::with_causes;
use vmroot_layer_index::{ContentsFile, Index};
use vmroot_model::Digest;

use crate::catalogue::{Snapshot, Visible};
use crate::layer::Layer;
use crate::progress::BlobReporter;
use crate::root::chain_id;
use crate::{Error, Record, Result, Store, StoreOptions};

/// The shared caches of a store, in the order in which they are searched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    caches: Arc<[SharedCache]>,
    /// The images of all caches, as they were merged last.
    visible: Arc<Mutex<Visible>>,
}

#[derive(Debug)]
struct SharedCache {
    /// The cache as a store that is only read.
    store: Store,
    /// Whether the last attempt to read its images failed. The warning is not repeated.
    has_failed: AtomicBool,
}

impl Shared {
    /// Opens the shared caches of a store. One that cannot be used is left out, with a warning.
    pub(crate) fn open(options: &StoreOptions) -> Self {
        let mut caches = Vec::new();
        for directory in &options.shared {
            if is_same(directory, &options.directory) {
                tracing::warn!("{}: is this cache itself, and not used as a shared one", directory.display());
                continue;
            }
            let options = StoreOptions { directory: directory.clone(), shared: Vec::new(), ..options.clone() };
            match Store::open_shared(options) {
                Ok(store) => caches.push(SharedCache { store, has_failed: AtomicBool::new(false) }),
                Err(error) => warn_of_unusable(directory, &error),
            }
        }
        Self { caches: caches.into(), ..Self::default() }
    }

    fn stores(&self) -> impl Iterator<Item = &Store> {
        self.caches.iter().map(|cache| &cache.store)
    }
}

impl SharedCache {
    /// Returns the images of the cache, or none if it cannot be read now.
    fn snapshot(&self) -> Arc<Snapshot> {
        match self.store.snapshot() {
            Ok(snapshot) => {
                self.has_failed.store(false, Ordering::Relaxed);
                snapshot
            }
            Err(error) => {
                if !self.has_failed.swap(true, Ordering::Relaxed) {
                    warn_of_unusable(self.store.directory(), &error);
                }
                Arc::default()
            }
        }
    }
}

fn warn_of_unusable(directory: &Path, error: &Error) {
    let error = with_causes(error);
    tracing::warn!("the shared cache {} is not used, because it cannot be read: {error}", directory.display());
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    one == other || identity(one).is_some_and(|one| Some(one) == identity(other))
}

impl Store {
    /// Returns the directories of the shared caches, in the order in which they are searched.
    pub fn shared_caches(&self) -> impl Iterator<Item = &Path> {
        self.shared.stores().map(Store::directory)
    }

    /// Returns whether this process may write to the cache. If it may not, calls that write fail.
    pub fn is_writable(&self) -> bool {
        self.cache.is_writable()
    }

    /// Returns the caches to search for a file: the store's own one, and the shared ones.
    pub(crate) fn caches(&self) -> impl Iterator<Item = &Cache> {
        std::iter::once(&self.cache).chain(self.shared.stores().map(|store| &store.cache))
    }

    /// Returns the images of the store's own cache and of all shared ones. Of several records of a name and platform, the
    /// first one counts.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records of the own cache cannot be listed or read.
    pub(crate) fn visible(&self) -> Result<Arc<Snapshot>> {
        let own = self.snapshot()?;
        if self.shared.caches.is_empty() {
            return Ok(own);
        }
        let of = |cache: &SharedCache| (cache.store.directory().to_owned(), cache.snapshot());
        let shared: Vec<(PathBuf, Arc<Snapshot>)> = self.shared.caches.iter().map(of).collect();
        let mut visible = self.shared.visible.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(visible.merge(&own, shared))
    }

    /// Returns the error for a change of an image that only a shared cache has.
    pub(crate) fn only_shared(&self, record: &Record) -> Option<Error> {
        let directory = record.shared_cache.clone()?;
        let name = record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string);
        Some(Error::Shared { name, directory })
    }

    /// Finds a blob, in the own cache or in a shared one. If its size is known, a file of another length counts only if
    /// there is no other.
    pub(crate) fn find_blob(&self, digest: &Digest, size: Option<u64>) -> Result<Option<FoundBlob>> {
        let mut found = None;
        for cache in self.caches() {
            match cache.get(digest) {
                Ok(Some(blob)) if size.is_none_or(|size| size == blob.length) => {
                    return Ok(Some(FoundBlob::new(blob, cache)));
                }
                Ok(Some(blob)) => {
                    found.get_or_insert_with(|| FoundBlob::new(blob, cache));
                }
                Err(error) if !cache.is_shared() => return Err(error.into()),
                Ok(None) | Err(_) => {}
            }
        }
        Ok(found)
    }

    /// Returns whether a cache has a blob.
    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        matches!(self.find_blob(digest, None), Ok(Some(_)))
    }

    /// Returns the bytes of a document, if a cache has it undamaged and it is at most `limit` bytes long.
    pub(crate) fn read_document(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        self.caches().find_map(|cache| {
            let blob = cache.get(digest).ok()??;
            let bytes = (blob.length <= limit).then(|| std::fs::read(&blob.path).ok())??;
            digest.is_of(&bytes).then_some(bytes)
        })
    }

    /// Opens the index of a layer. That of an encrypted one comes from the own cache only: what the owner of a shared cache
    /// has decrypted is not for others.
    pub(crate) fn open_own_or_shared(&self, layer: &Layer) -> Option<Index> {
        match layer.is_encrypted() {
            true => open_layer(&self.cache, &layer.diff_id),
            false => self.open_layer(&layer.diff_id),
        }
    }

    /// Opens the index of a layer in the first cache that has the index and the contents in the right shape.
    pub(crate) fn find_layer(&self, diff_id: &Digest) -> Option<(Index, &Cache)> {
        self.caches().find_map(|cache| Some((open_layer(cache, diff_id)?, cache)))
    }

    /// Opens the root of these layers in the first cache that has its index.
    pub(crate) fn find_root(&self, chain_id: &Digest, diff_ids: &[Digest]) -> Option<(Index, &Cache)> {
        self.caches().find_map(|cache| Some((open_root(cache, chain_id, diff_ids)?, cache)))
    }

    /// Returns whether only a shared cache has a layer.
    pub(crate) fn is_layer_shared(&self, diff_id: &Digest) -> bool {
        self.find_layer(diff_id).is_some_and(|(_, cache)| cache.is_shared())
    }

    /// Returns whether only a shared cache has the root of these layers.
    pub(crate) fn is_root_shared(&self, layers: &[Layer]) -> bool {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        self.find_root(&chain_id(&diff_ids), &diff_ids).is_some_and(|(_, cache)| cache.is_shared())
    }

    /// Opens the contents of a layer in the first cache that has them.
    pub(crate) fn open_contents(&self, file: &ContentsFile) -> vmroot_container_fs::Result<Contents> {
        let open = |cache: &Cache| -> vmroot_container_fs::Result<Contents> {
            let path = cache.layout().layer_contents(&file.diff_id);
            let contents = Contents::open(path, file.diff_id, file.length)?;
            Ok(Contents { shared: cache.is_shared().then(|| cache.layout().root().to_owned()), ..contents })
        };
        let own = open(&self.cache);
        if own.is_ok() {
            return own;
        }
        self.shared.stores().find_map(|store| open(&store.cache).ok()).map_or(own, Ok)
    }

    /// Builds a layer from the blob of a shared cache. Returns `None` if no shared cache has the blob undamaged.
    pub(crate) fn build_from_shared(&self, layer: &Layer, reporter: &BlobReporter) -> Result<Option<PathBuf>> {
        let (digest, size) = (&layer.descriptor.digest, layer.descriptor.size);
        for store in self.shared.stores() {
            let Ok(Some(blob)) = store.cache.get(digest) else { continue };
            let directory = store.directory().display();
            if blob.length != size {
                tracing::warn!("a blob of the shared cache {directory} is not used: {digest} has a wrong length");
                continue;
            }
            match self.build_from_file(layer, &blob.path, reporter) {
                Ok(path) => return Ok(Some(path)),
                // The layer is at fault, or the own cache.
                Err(error) if matches!(store.cache.verify(digest, &self.options.cancel), Ok(Verdict::Whole)) => {
                    return Err(error);
                }
                Err(_) => self.check_cancelled()?,
            }
            tracing::warn!("a blob of the shared cache {directory} is not used: {digest} is damaged or unreadable");
        }
        Ok(None)
    }
}

/// Opens an index, in a way that suits its cache.
fn open_index(cache: &Cache, path: &Path) -> Option<Index> {
    let opened = if cache.maps_indexes() { Index::open(path) } else { Index::read(path) };
    opened.ok()
}

fn open_layer(cache: &Cache, diff_id: &Digest) -> Option<Index> {
    let index = open_index(cache, &cache.layout().layer_index(diff_id))?;
    let contents = std::fs::metadata(cache.layout().layer_contents(diff_id)).ok()?;
    let expected = index.contents().first()?.length;
    (index.is_current() && !index.is_root() && index.identity() == diff_id && contents.len() == expected)
        .then_some(index)
}

fn open_root(cache: &Cache, chain_id: &Digest, diff_ids: &[Digest]) -> Option<Index> {
    let index = open_index(cache, &cache.layout().root_index(chain_id))?;
    let is_it = index.is_current()
        && index.is_root()
        && index.identity() == chain_id
        // A root that was merged from other layers would show other files.
        && index.contents().iter().map(|contents| &contents.diff_id).eq(diff_ids);
    is_it.then_some(index)
}

/// A blob of the own cache or of a shared one.
#[derive(Debug, Clone)]
pub(crate) struct FoundBlob {
    pub(crate) path: PathBuf,
    /// The length of the file in bytes.
    pub(crate) length: u64,
    /// The directory of the shared cache; `None` for the own one.
    pub(crate) shared: Option<PathBuf>,
}

impl FoundBlob {
    fn new(blob: BlobFile, cache: &Cache) -> Self {
        let shared = cache.is_shared().then(|| cache.layout().root().to_owned());
        Self { path: blob.path, length: blob.length, shared }
    }

    /// Returns a reader of `length` bytes of the blob's open file. Its errors name a shared cache.
    pub(crate) fn reader(&self, file: std::fs::File, length: u64) -> Box<dyn Read + Send> {
        match &self.shared {
            None => Box::new(file),
            Some(directory) => {
                Box::new(SharedReader { file, left: length, path: self.path.clone(), directory: directory.clone() })
            }
        }
    }
}

/// Reads a blob of a shared cache, which may be cut off or become unreadable meanwhile.
struct SharedReader {
    file: std::fs::File,
    /// The bytes that the file must still have.
    left: u64,
    path: PathBuf,
    directory: PathBuf,
}

impl Read for SharedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let named = |error: io::Error| {
            let (path, directory) = (self.path.display(), self.directory.display());
            io::Error::new(error.kind(), format!("{path} of the shared cache {directory}: {error}"))
        };
        match self.file.read(buffer) {
            Ok(0) if self.left > 0 && !buffer.is_empty() => Err(named(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(named(error)),
        }
    }
}
