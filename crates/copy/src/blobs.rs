//! Copying the blobs of one image, several at once.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use vmroot_compress::{Compression, RecompressOptions, Target, recompress};
use vmroot_errors::{ErrorKind, with_causes};
use vmroot_model::{Algorithm, Descriptor, Digest, EncryptionChange, Hasher, LayerCompression, MediaType, Reference};
use vmroot_output::Cancel;
use vmroot_transport::{BlobRole, NewBlob, Reuse};

use crate::copier::Job;
use crate::ledger::{Key, lock};
use crate::pace::Pace;
use crate::report::Tally;
use crate::variants::Variant;
use crate::{BlobState, CopyProgress, Error, Result, plan};

/// The most repositories from which a registry is asked to mount a blob.
const MOUNT_ATTEMPTS: usize = 5;

/// The pause before the first retry, if the options state none.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// A blob to copy.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// The blob in the source.
    pub(crate) blob: Descriptor,
    pub(crate) role: BlobRole,
    /// The new compression; `None` for an unchanged blob.
    pub(crate) change: Option<Target>,
    /// The change of the encryption; `None` for a blob that stays plain or encrypted.
    pub(crate) encryption: Option<EncryptionChange>,
    /// The digest of the decompressed layer, which is checked if the layer is decompressed.
    pub(crate) diff_id: Option<Digest>,
}

impl Job<'_> {
    /// Copies blobs. Returns their descriptors in the destination, in the order of the tasks.
    pub(crate) fn copy_blobs(&self, tasks: &[Task]) -> Result<Vec<Descriptor>> {
        self.copier.progress.planned(&tasks.iter().map(|task| task.blob.clone()).collect::<Vec<_>>());
        let results: Vec<Mutex<Option<Descriptor>>> = tasks.iter().map(|_| Mutex::default()).collect();
        let failure = Mutex::new(None);
        let next = AtomicUsize::new(0);
        let order = distinct_first(tasks);
        let work = || {
            while let Some(&number) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                if lock(&failure).is_some() {
                    return;
                }
                match self.copy_blob(&tasks[number]) {
                    Ok(descriptor) => *lock(&results[number]) = Some(descriptor),
                    Err(error) => {
                        lock(&failure).get_or_insert(error);
                    }
                }
            }
        };
        thread::scope(|scope| -> Result<()> {
            for number in 1..self.options().parallel.max(1).min(tasks.len()) {
                let thread = thread::Builder::new().name(format!("blob-{number}")).spawn_scoped(scope, work);
                thread.map_err(Error::Threads)?;
            }
            work();
            Ok(())
        })?;
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let copied = results.into_iter().filter_map(|it| it.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(copied.collect())
    }

    /// Copies one blob, unless the destination has it, and returns its descriptor there.
    fn copy_blob(&self, task: &Task) -> Result<Descriptor> {
        let (scope, digest) = (self.destination.blob_scope(), task.blob.digest);
        let key = Key { scope, digest, target: task.change, encryption: task.encryption };
        let slot = self.copier.ledger.slot(key);
        let mut copied = lock(&slot);
        if let Some(copied) = &*copied {
            Tally::add(&self.tally.reused, 1);
            self.copier.progress.blob(&task.blob, BlobState::Reused);
            return Ok(copied.clone());
        }
        let _permit = self.copier.permits.acquire();
        self.options().cancel.check()?;
        let descriptor = match task.change {
            _ if task.encryption.is_some() => self.copy_encrypted(task)?,
            None => self.copy_unchanged(task)?,
            Some(target) => match self.reuse_variant(task, target)? {
                Some(variant) => variant,
                None => self.copy_changed(task, target)?,
            },
        };
        self.copier.ledger.add_place(descriptor.digest, self.destination.repository());
        Ok(copied.insert(descriptor).clone())
    }

    fn copy_unchanged(&self, task: &Task) -> Result<Descriptor> {
        let blob = &task.blob;
        let origins = self.origins(&blob.digest);
        let reuse = self.destination.reuse_blob(blob, &origins).map_err(|error| self.destination_error(error))?;
        let may_be_missing = self.destination.accepts().foreign_layers && blob.foreign_urls().next().is_some();
        if reuse != Reuse::Absent || may_be_missing {
            Tally::add(&self.tally.reused, 1);
            self.copier.progress.blob(blob, BlobState::Reused);
            return Ok(blob.clone());
        }
        self.transfer(task, |reader| {
            let mut new = NewBlob::known(blob, task.role, reader);
            self.destination.put_blob(&mut new).map_err(|error| self.blob_error(task, error))?;
            Ok(blob.clone())
        })
    }

    /// Returns a form of a layer with another compression that the destination has, by the record of earlier copies.
    fn reuse_variant(&self, task: &Task, target: Target) -> Result<Option<Descriptor>> {
        let Some(variants) = self.copier.variants.as_ref().filter(|_| is_recorded(target)) else { return Ok(None) };
        if self.options().dry_run {
            return Ok(None);
        }
        for variant in variants.of(&task.blob.digest, plan::compression(target)) {
            // The config may lie about the layer. Copying it then reports that.
            if task.diff_id.is_some_and(|diff_id| diff_id != variant.plain) {
                continue;
            }
            let blob = Descriptor::new(media_type(target), variant.digest, variant.size);
            let origins = self.origins(&blob.digest);
            let reuse = self.destination.reuse_blob(&blob, &origins).map_err(|error| self.destination_error(error))?;
            if reuse != Reuse::Absent {
                Tally::add(&self.tally.reused, 1);
                self.copier.progress.blob(&task.blob, BlobState::Reused);
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    /// Records the old and the new form of a layer, whose plain digest is `plain`. All three digests are of bytes that
    /// this copy has read or written.
    fn record_variants(&self, task: &Task, target: Target, plain: Digest, old: Compression, new: &Descriptor) {
        let Some(variants) = &self.copier.variants else { return };
        let old = match old {
            Compression::Gzip => Some(LayerCompression::Gzip),
            Compression::Zstd => Some(LayerCompression::Zstd),
            _ => None,
        };
        let new = is_recorded(target).then(|| (new, plan::compression(target)));
        for (blob, compression) in old.map(|old| (&task.blob, old)).into_iter().chain(new) {
            variants.record(Variant { plain, digest: blob.digest, size: blob.size, compression });
        }
    }

    fn copy_changed(&self, task: &Task, target: Target) -> Result<Descriptor> {
        self.transfer(task, |reader| {
            let first_bytes = Arc::default();
            let reader = FirstBytes { reader, first: Arc::clone(&first_bytes) };
            let verified = NewBlob::known(&task.blob, task.role, reader);
            let plain = Arc::new(Mutex::new(Hasher::new(Algorithm::Sha256)));
            let tap = Arc::clone(&plain);
            let options = RecompressOptions { limits: self.options().limits, ..RecompressOptions::new(target) };
            let _recompression = self.copier.recompressions.acquire();
            let changed = recompress(verified, &options, move |bytes| lock(&tap).update(bytes));
            let mut changed = changed.map_err(|error| self.compress_error(&task.blob, error))?;
            let mut new = NewBlob::unknown(media_type(target), task.role, &mut changed);
            self.destination.put_blob(&mut new).map_err(|error| self.blob_error(task, error))?;
            let written = new.finished().ok_or_else(|| self.not_read(task))?;
            drop(new);
            let finished = changed.finish().map_err(|error| self.compress_error(&task.blob, error))?;
            let actual = lock(&plain).clone().finish();
            self.check_diff_id(task, actual)?;
            let old = Compression::sniff(&lock(&first_bytes));
            self.record_variants(task, target, actual, old, &written);
            Ok(Descriptor { annotations: finished.annotations, ..written })
        })
    }

    /// Compares the digest of a decompressed layer with its diff id.
    pub(crate) fn check_diff_id(&self, task: &Task, actual: Digest) -> Result<()> {
        let Some(expected) = task.diff_id.filter(|expected| *expected != actual) else { return Ok(()) };
        Err(Error::DiffId { place: self.source.name(), digest: task.blob.digest, expected, actual })
    }

    /// Opens a blob of the source and passes it to `put`, and again after failures of connections.
    pub(crate) fn transfer(&self, task: &Task, put: impl Fn(Counting) -> Result<Descriptor>) -> Result<Descriptor> {
        if self.options().dry_run {
            return Ok(task.blob.clone());
        }
        let _turn = self.copier.pace.begin(task.blob.size, &self.options().cancel)?;
        let descriptor = self.retry(|| {
            self.copier.progress.blob(&task.blob, BlobState::Started);
            let body = self.source.blob(&task.blob, 0).map_err(|error| self.blob_error(task, error))?;
            put(self.counting(task, body.reader))
        })?;
        Tally::add(&self.tally.written, 1);
        self.copier.progress.blob(&task.blob, BlobState::Written);
        Ok(descriptor)
    }

    /// Calls `attempt` until it succeeds, fails for another reason than a connection, or the retries are used up.
    pub(crate) fn retry<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let fixed = self.options().retry_delay;
        let mut delay = fixed.unwrap_or(FIRST_DELAY);
        let mut retries = self.options().retries;
        loop {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::Unreachable && retries > 0 => {
                    let cause = with_causes(&error);
                    self.copier.progress.message(&format!("{cause}; trying again in {} s", delay.as_secs_f32()));
                    self.options().cancel.sleep(delay)?;
                    retries -= 1;
                    if fixed.is_none() {
                        delay = delay.saturating_mul(2);
                    }
                }
                result => return result,
            }
        }
    }

    fn counting(&self, task: &Task, reader: Box<dyn Read + Send>) -> Counting {
        let progress = Arc::clone(&self.copier.progress);
        let (cancel, tally) = (self.options().cancel.clone(), Arc::clone(&self.tally));
        let pace = Arc::clone(&self.copier.pace);
        Counting { progress, cancel, tally, pace, blob: task.blob.clone(), reader, read: 0 }
    }

    /// Returns other repositories of the destination's registry that have a blob.
    pub(crate) fn origins(&self, digest: &Digest) -> Vec<Reference> {
        let Some(own) = self.destination.repository() else { return Vec::new() };
        let known = self.copier.ledger.places(digest, MOUNT_ATTEMPTS);
        let all = self.source.repository().cloned().into_iter().chain(known);
        let is_other = |it: &Reference| it.domain() == own.domain() && it.path() != own.path();
        let mut seen = HashSet::new();
        all.filter(|it| is_other(it) && seen.insert(it.path().to_owned())).take(MOUNT_ATTEMPTS).collect()
    }

    /// Returns the error of a destination that did not read a blob to its end.
    pub(crate) fn not_read(&self, task: &Task) -> Error {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the blob was not read to its end");
        let place = self.destination.name();
        self.blob_error(task, vmroot_transport::Error::ReadBlob { place, digest: task.blob.digest, source: error })
    }

    pub(crate) fn compress_error(&self, blob: &Descriptor, error: vmroot_compress::Error) -> Error {
        Error::Compress { place: self.source.name(), digest: blob.digest, source: Box::new(error) }
    }

    pub(crate) fn blob_error(&self, task: &Task, error: vmroot_transport::Error) -> Error {
        let (from, to) = (self.source.name(), self.destination.name());
        let source = Box::new(error);
        self.cancelled().unwrap_or(Error::Blob { digest: task.blob.digest, from, to, source })
    }
}

/// Returns whether a form of a layer is recorded. One with a table of contents is described by annotations, which the
/// record lacks.
fn is_recorded(target: Target) -> bool {
    matches!(target, Target::Gzip { .. } | Target::Zstd { .. })
}

/// Returns the media type of a compressed layer for its upload. That in the manifest depends on the manifest's format.
fn media_type(target: Target) -> MediaType {
    match plan::compression(target) {
        LayerCompression::None => MediaType::OCI_LAYER,
        LayerCompression::Gzip => MediaType::OCI_LAYER_GZIP,
        LayerCompression::Zstd => MediaType::OCI_LAYER_ZSTD,
    }
}

/// Returns the positions of the tasks, those of the largest blobs first, and repeated blobs at the end: these are then
/// in the destination, and no thread waits for another.
fn distinct_first(tasks: &[Task]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let is_repeated: Vec<bool> = tasks.iter().map(|task| !seen.insert(task.blob.digest)).collect();
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&number| (is_repeated[number], std::cmp::Reverse(tasks[number].blob.size)));
    order
}

/// A reader that keeps its first bytes, which tell the compression.
struct FirstBytes<R> {
    reader: R,
    first: Arc<Mutex<Vec<u8>>>,
}

impl<R: Read> Read for FirstBytes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        let mut first = lock(&self.first);
        let missing = Compression::SNIFF_LEN.saturating_sub(first.len());
        first.extend_from_slice(&buffer[..count.min(missing)]);
        Ok(count)
    }
}

/// A reader that reports its progress, and ends with an error once the copy is cancelled.
pub(crate) struct Counting {
    progress: Arc<dyn CopyProgress>,
    cancel: Cancel,
    tally: Arc<Tally>,
    pace: Arc<Pace>,
    blob: Descriptor,
    reader: Box<dyn Read + Send>,
    read: u64,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        Tally::add(&self.tally.bytes, count as u64);
        self.pace.add(count as u64);
        self.progress.blob(&self.blob, BlobState::Read(self.read));
        Ok(count)
    }
}
