//! Progress of a pull.

use std::fmt;
use std::sync::Arc;

use vmroot_model::Digest;

/// Receives the progress events of a pull.
///
/// The methods are called often and from several threads at once. They should return quickly.
pub trait Progress: Send + Sync {
    /// A blob began, advanced or ended.
    fn blob(&self, _progress: &BlobProgress) {}

    /// A message for the user: for example, that a lock is awaited.
    fn message(&self, _message: &str) {}
}

/// The progress of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobProgress {
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's position among the blobs of the image: 0 for the config, layers from 1.
    pub index: usize,
    /// The number of blobs of the image.
    pub count: usize,
    /// The number of bytes in the cache.
    pub current: u64,
    /// The size of the blob in bytes.
    pub total: u64,
    /// The total size, in bytes, of all blobs of the image that must be fetched.
    pub image_total: u64,
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// Reports the progress of one blob.
#[derive(Clone)]
pub(crate) struct BlobReporter {
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) blob: BlobProgress,
}

impl BlobReporter {
    /// Returns a reporter for work that fetches no blob.
    pub(crate) fn without_blob(progress: &Arc<dyn Progress>) -> Self {
        let digest = Digest::of(b"");
        let blob = BlobProgress { digest, index: 0, count: 0, current: 0, total: 0, image_total: 0 };
        Self { progress: Arc::clone(progress), blob }
    }

    /// Reports that `current` bytes of the blob are in the cache.
    pub(crate) fn set_current(&self, current: u64) {
        self.progress.blob(&BlobProgress { current, ..self.blob });
    }
}

impl fmt::Debug for BlobReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReporter").field("blob", &self.blob).finish_non_exhaustive()
    }
}
