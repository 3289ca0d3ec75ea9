//! The blobs that one copier has written, so that images share them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use vmroot_compress::Target;
use vmroot_model::{Descriptor, Digest, EncryptionChange, Reference};

/// A blob of a source, in the form and the place that it has in a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// [`ImageDestination::blob_scope`](vmroot_transport::ImageDestination::blob_scope).
    pub(crate) scope: String,
    pub(crate) digest: Digest,
    /// The new compression, or `None` for an unchanged blob.
    pub(crate) target: Option<Target>,
    /// The change of the encryption, or `None` for a blob that stays plain or encrypted.
    pub(crate) encryption: Option<EncryptionChange>,
}

/// The place of one blob. The thread that copies the blob holds it locked; the others wait, and find the result.
pub(crate) type Slot = Arc<Mutex<Option<Descriptor>>>;

/// Whether a manifest or an index was written. The thread that writes it first holds it locked.
pub(crate) type DocumentSlot = Arc<Mutex<bool>>;

/// The most bytes of configs that are kept.
const CONFIGS_LIMIT: usize = 8 << 20;

/// The place of one config.
type ConfigSlot = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

/// The blobs that one copier has written or found, by their destinations.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    slots: Mutex<HashMap<Key, Slot>>,
    documents: Mutex<HashMap<Key, DocumentSlot>>,
    /// Configs that were read, so that images which share one read it once.
    configs: Mutex<HashMap<Digest, ConfigSlot>>,
    /// The number of bytes in `configs`.
    config_bytes: AtomicUsize,
    /// The repositories that have a blob.
    places: Mutex<HashMap<Digest, BTreeSet<Reference>>>,
}

impl Ledger {
    /// Returns the place of a blob.
    pub(crate) fn slot(&self, key: Key) -> Slot {
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }

    /// Returns whether a manifest or an index was written.
    pub(crate) fn document(&self, key: Key) -> DocumentSlot {
        Arc::clone(lock(&self.documents).entry(key).or_default())
    }

    /// Returns a config, which the first caller reads with `read` while the others wait.
    ///
    /// # Errors
    /// The error of `read`.
    pub(crate) fn config<E>(
        &self,
        digest: &Digest,
        read: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Arc<Vec<u8>>, E> {
        let slot = Arc::clone(lock(&self.configs).entry(*digest).or_default());
        let mut kept = lock(&slot);
        if let Some(config) = &*kept {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(read()?);
        if self.config_bytes.fetch_add(config.len(), Ordering::Relaxed) + config.len() <= CONFIGS_LIMIT {
            *kept = Some(Arc::clone(&config));
        }
        Ok(config)
    }

    /// Records that a repository has a blob.
    pub(crate) fn add_place(&self, digest: Digest, repository: Option<&Reference>) {
        if let Some(repository) = repository {
            lock(&self.places).entry(digest).or_default().insert(repository.clone());
        }
    }

    /// Returns repositories that have a blob, at most `limit`.
    pub(crate) fn places(&self, digest: &Digest, limit: usize) -> Vec<Reference> {
        lock(&self.places).get(digest).into_iter().flatten().take(limit).cloned().collect()
    }
}

/// Permits for transfers, which all images of a copier share.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Mutex::new(count.max(1)), returned: Condvar::new() }
    }

    /// Waits for a permit.
    pub(crate) fn acquire(&self) -> Permit<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }
}

/// A permit for one transfer, returned on drop.
pub(crate) struct Permit<'a>(&'a Permits);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.returned.notify_one();
    }
}

/// Locks a mutex. Poisoning is ignored, because no panic leaves the values in an invalid state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
