//! Progress of a pull.

use std::fmt;
use std::sync::Arc;

use vmroot_model::Digest;

/// Receives the progress events of a pull or a verification.
///
/// The methods are called often and from several threads at once. They should return quickly.
pub trait Progress: Send + Sync {
    /// The blob of a layer began, advanced or ended. Manifests and configs are not reported.
    fn blob(&self, _progress: &BlobProgress) {}

    /// A verification has read another file.
    fn verified(&self, _progress: &VerifyProgress) {}

    /// A message for the user: for example, that a lock is awaited.
    fn message(&self, _message: &str) {}
}

/// The progress of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The bytes of the files that were read.
    pub bytes: u64,
    /// The bytes of all files.
    pub total_bytes: u64,
}

/// The progress of the blob of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobProgress {
    /// The blob's digest.
    pub digest: Digest,
    /// The layer's position in the image: 0 for the lowest.
    pub layer_index: usize,
    /// The number of layers of the image.
    pub layer_count: usize,
    /// The number of bytes in the cache.
    pub current: u64,
    /// The size of the blob in bytes.
    pub total: u64,
    /// The total size, in bytes, of the blobs of all layers that must be fetched.
    pub image_total: u64,
}

impl BlobProgress {
    /// Returns the progress of the only layer of an image, of which nothing has come yet.
    pub fn new(digest: Digest, total: u64) -> Self {
        Self { digest, layer_index: 0, layer_count: 1, current: 0, total, image_total: total }
    }
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// Reports the progress of work on one layer.
#[derive(Clone)]
pub(crate) struct BlobReporter {
    pub(crate) progress: Arc<dyn Progress>,
    /// The blob that the work fetches; `None` if it fetches none.
    pub(crate) blob: Option<BlobProgress>,
}

impl BlobReporter {
    /// Returns a reporter for work that fetches no blob.
    pub(crate) fn without_blob(progress: &Arc<dyn Progress>) -> Self {
        Self { progress: Arc::clone(progress), blob: None }
    }

    /// Reports that `current` bytes of the blob are in the cache.
    pub(crate) fn set_current(&self, current: u64) {
        if let Some(blob) = self.blob {
            self.progress.blob(&BlobProgress { current, ..blob });
        }
    }
}

impl fmt::Debug for BlobReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReporter").field("blob", &self.blob).finish_non_exhaustive()
    }
}
