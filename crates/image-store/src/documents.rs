//! Storing manifests, indexes and configs in the cache.

use vmroot_cache::{LockName, PUBLISHED_MODE};
use vmroot_model::Digest;
use vmroot_output::write_atomically;

use crate::{Progress, Result, Store};

impl Store {
    /// Stores a document as a blob. One that is there and undamaged stays as it is.
    pub(crate) fn write_document(&self, digest: &Digest, bytes: &[u8], progress: &dyn Progress) -> Result<()> {
        // The documents are small enough to compare. A damaged one is replaced.
        if self.read_document(digest, bytes.len() as u64).is_some_and(|present| present == bytes) {
            return Ok(());
        }
        let path = self.cache.layout().blob(digest);
        // Under the lock, no other thread mistakes the new file for the damaged one and removes it.
        let _lock = self.lock(&LockName::Blob(*digest), progress)?;
        Ok(write_atomically(&path, PUBLISHED_MODE, bytes)?)
    }
}
