//! How far a pull is.

use std::fmt;
use std::sync::Arc;

use vmroot_model::Digest;

/// Told what a pull does. Called from several threads at once, and often: it should return soon.
pub trait Progress: Send + Sync {
    /// A blob came forward, began or ended.
    fn blob(&self, _progress: &BlobProgress) {}

    /// Something worth a line: what is waited for, what was found already there.
    fn message(&self, _message: &str) {}
}

/// How far one blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobProgress {
    /// The blob.
    pub digest: Digest,
    /// Its number among the blobs of the image: the config is 0, layers follow from 1.
    pub index: usize,
    /// How many blobs the image has.
    pub count: usize,
    /// Bytes that are here.
    pub current: u64,
    /// Bytes that there are.
    pub total: u64,
    /// Bytes of all the image's blobs together, as far as they must be fetched.
    pub image_total: u64,
}

/// Who does not want to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// Whom to tell about one blob.
#[derive(Clone)]
pub(crate) struct Report {
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) blob: BlobProgress,
}

impl Report {
    /// For work that fetches nothing.
    pub(crate) fn without_blob(progress: &Arc<dyn Progress>) -> Self {
        let digest = Digest::of(b"");
        let blob = BlobProgress { digest, index: 0, count: 0, current: 0, total: 0, image_total: 0 };
        Self { progress: Arc::clone(progress), blob }
    }

    /// The blob has this many bytes here now.
    pub(crate) fn at(&self, current: u64) {
        self.progress.blob(&BlobProgress { current, ..self.blob });
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("blob", &self.blob).finish_non_exhaustive()
    }
}
