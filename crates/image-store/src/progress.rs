//! Progress of a pull, and of other work on a store.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vmroot_model::{Descriptor, Digest};

/// Receives the progress events of a pull, a verification, or other work on a store.
///
/// The methods are called often and from several threads at once. They should return quickly. All of them do nothing by
/// default, and further ones may be added.
pub trait Progress: Send + Sync {
    /// The blob of a layer began, advanced or ended. Manifests and configs are not reported.
    fn blob(&self, _progress: &BlobProgress) {}

    /// A verification has read further bytes: about a mebibyte, or the rest of a file.
    fn verified(&self, _progress: &VerifyProgress) {}

    /// Other work advanced. It begins with its first event, and ends when the call of the store returns.
    fn work(&self, _progress: &WorkProgress) {}

    /// A message for the user: for example, that a lock is awaited.
    fn message(&self, _message: &str) {}
}

/// The progress of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// The bytes that were read.
    pub bytes: u64,
    /// The bytes of all files.
    pub total_bytes: u64,
}

/// Work on a store that is neither a pull nor a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// An archive is read as a whole before its images are loaded: it is compressed, or comes through a pipe. The unit is
    /// bytes as they arrive. The last event of an archive has the total, which may be unknown before.
    ReadArchive,
    /// Images are written to an archive. The unit is bytes of their blobs.
    Save,
    /// The tar of a new layer is read. The unit is bytes, and the total is unknown.
    AddLayer,
    /// Files that no image needs are removed. The unit is files.
    Collect,
    /// An image is written as a prebaked directory. The unit is bytes.
    Prebake,
    /// Layers and files are put on top of a root. The unit is bytes, and the total is unknown if there are directories.
    PutOnTop,
}

/// The progress of other work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkProgress {
    /// The kind of work, which determines the unit.
    pub work: Work,
    /// The units that are done.
    pub done: u64,
    /// All units, if their number is known.
    pub total: Option<u64>,
}

impl WorkProgress {
    /// Returns the progress of work with `done` of `total` units.
    pub fn new(work: Work, done: u64, total: Option<u64>) -> Self {
        Self { work, done, total }
    }
}

/// What happens to the blob of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlobStage {
    /// It is fetched, and its layer is indexed meanwhile.
    Fetching,
    /// It is in the cache, and its layer is indexed again.
    Unpacking,
    /// It is complete in the cache, and so is its layer.
    Done,
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
    /// What happens to the blob.
    pub stage: BlobStage,
    /// The number of bytes in the cache, or those that were read of them while the layer is indexed again. The first
    /// event has the bytes of an earlier attempt.
    pub current: u64,
    /// The size of the blob in bytes.
    pub total: u64,
    /// The total size, in bytes, of the blobs of all layers that must be fetched.
    pub image_total: u64,
}

impl BlobProgress {
    /// Returns the progress of the only layer of an image, of which nothing has come yet.
    pub fn new(digest: Digest, total: u64) -> Self {
        let stage = BlobStage::Fetching;
        Self { digest, layer_index: 0, layer_count: 1, stage, current: 0, total, image_total: total }
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
    pub(crate) blob: BlobProgress,
}

impl BlobReporter {
    /// Returns a reporter for a blob that is not part of a pull.
    pub(crate) fn of(progress: &Arc<dyn Progress>, descriptor: &Descriptor) -> Self {
        Self { progress: Arc::clone(progress), blob: BlobProgress::new(descriptor.digest, descriptor.size) }
    }

    /// Reports that `current` bytes of the blob are in the cache, or were read there.
    pub(crate) fn report(&self, stage: BlobStage, current: u64) {
        self.progress.blob(&BlobProgress { stage, current, ..self.blob });
    }
}

impl fmt::Debug for BlobReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReporter").field("blob", &self.blob).finish_non_exhaustive()
    }
}

/// A reader of a blob in the cache that reports how much of it was read.
pub(crate) struct UnpackedReader<R> {
    inner: R,
    reporter: BlobReporter,
    read: u64,
}

impl<R> UnpackedReader<R> {
    pub(crate) fn new(inner: R, reporter: &BlobReporter) -> Self {
        reporter.report(BlobStage::Unpacking, 0);
        Self { inner, reporter: reporter.clone(), read: 0 }
    }
}

impl<R: Read> Read for UnpackedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read += count as u64;
        self.reporter.report(BlobStage::Unpacking, self.read);
        Ok(count)
    }
}

/// Counts the units of work, from several threads.
pub(crate) struct WorkMeter {
    progress: Arc<dyn Progress>,
    work: Work,
    done: AtomicU64,
    total: Option<u64>,
}

impl WorkMeter {
    /// Reports the beginning of the work.
    pub(crate) fn start(progress: &Arc<dyn Progress>, work: Work, total: Option<u64>) -> Arc<Self> {
        progress.work(&WorkProgress::new(work, 0, total));
        Arc::new(Self { progress: Arc::clone(progress), work, done: AtomicU64::new(0), total })
    }

    pub(crate) fn add(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        self.progress.work(&WorkProgress::new(self.work, done, self.total));
    }

    /// Returns a reader that counts its bytes.
    pub(crate) fn reader<R: Read>(self: &Arc<Self>, inner: R) -> MeteredReader<R> {
        MeteredReader { inner, meter: Arc::clone(self) }
    }
}

/// A reader whose bytes are units of work.
pub(crate) struct MeteredReader<R> {
    inner: R,
    meter: Arc<WorkMeter>,
}

impl<R: Read> Read for MeteredReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.add(count as u64);
        Ok(count)
    }
}
