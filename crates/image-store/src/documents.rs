//! Manifests, indexes and configs in the cache.

use std::fs;

use vmroot_cache::{LockName, PUBLISHED_MODE};
use vmroot_model::Digest;
use vmroot_output::write_atomically;

use crate::{Progress, Result, Store};

impl Store {
    /// Returns the bytes of a document in the cache, if it is there, undamaged, and at most `limit` bytes long.
    pub(crate) fn read_document(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let blob = self.cache.get(digest).ok()??;
        let bytes = (blob.length <= limit).then(|| fs::read(&blob.path).ok())??;
        digest.is_of(&bytes).then_some(bytes)
    }

    /// Stores a document as a blob. One that is there and undamaged stays as it is.
    pub(crate) fn write_document(&self, digest: &Digest, bytes: &[u8], progress: &dyn Progress) -> Result<()> {
        let path = self.cache.layout().blob(digest);
        // The documents are small enough to compare. A damaged one is replaced.
        if fs::read(&path).is_ok_and(|present| present == bytes) {
            return Ok(());
        }
        // Under the lock, no other thread mistakes the new file for the damaged one and removes it.
        let _lock = self.lock(&LockName::Blob(*digest), progress)?;
        Ok(write_atomically(&path, PUBLISHED_MODE, bytes)?)
    }
}
