//! Reports of copies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use vmroot_model::{Descriptor, Digest};

/// The result of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The document that the destination's name refers to now. Its digest is that of `--digestfile`.
    pub manifest: Descriptor,
    /// The digest of the document in the source.
    pub source: Digest,
    /// Whether the destination had the image already, so that nothing was written.
    pub was_present: bool,
    /// The losses of conversions, and notes of the source, one sentence each.
    pub losses: Vec<String>,
    /// The blobs that were written.
    pub written: u64,
    /// The blobs that the destination had, or that it got from another repository of the same registry.
    pub reused: u64,
    /// The bytes of the source that were read for blobs.
    pub bytes: u64,
    /// The documents that refer to the image and were copied.
    pub referrers: Vec<Descriptor>,
}

/// Counts of one copy, which its threads share.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) written: AtomicU64,
    pub(crate) reused: AtomicU64,
    pub(crate) bytes: AtomicU64,
    losses: Mutex<Vec<String>>,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Records a loss, once.
    pub(crate) fn lose(&self, loss: String) {
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        if !losses.contains(&loss) {
            losses.push(loss);
        }
    }

    pub(crate) fn report(&self, manifest: Descriptor, source: Digest) -> CopyReport {
        let losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        CopyReport {
            manifest,
            source,
            was_present: false,
            losses,
            written: self.written.load(Ordering::Relaxed),
            reused: self.reused.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            referrers: Vec::new(),
        }
    }
}
