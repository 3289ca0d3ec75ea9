//! How much of the machine decoding ahead may take.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// Threads that decode ahead for one stream. The thread that hashes the output cannot keep up with more.
const MAX_WORKERS: usize = 6;

/// Pieces that a process holds, being decoded or waiting to be taken. Each has at most 7 MiB. Reading ahead
/// and the threads take less than 8 MiB, so it is less than 64 MiB in all.
const MAX_PIECES: usize = 8;

/// Cores below which nothing is decoded ahead: a stream has two busy threads anyway, one that decodes and one that takes.
const MIN_CORES: usize = 4;

/// The cores and the memory that all streams of a process share.
#[derive(Debug)]
pub(crate) struct Budget {
    cores: usize,
    streams: AtomicUsize,
    pieces: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self { cores, streams: AtomicUsize::new(0), pieces: AtomicUsize::new(0) })
    }

    /// The one of this process.
    pub(crate) fn of_process() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Budget>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Self::new(thread::available_parallelism().map_or(1, NonZero::get))))
    }

    /// Threads that may decode ahead for one stream: the cores that the streams there are leave idle, and one more since
    /// the thread of the stream itself has little to do then.
    pub(crate) fn workers(&self) -> usize {
        if self.cores < MIN_CORES {
            return 0;
        }
        (self.cores + 1).saturating_sub(2 * self.streams.load(Ordering::Relaxed)).min(MAX_WORKERS)
    }

    /// Counts a stream until the share is dropped.
    pub(crate) fn share(self: Arc<Self>) -> Share {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Share { budget: self }
    }
}

/// One stream's part in a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
}

impl Share {
    pub(crate) fn workers(&self) -> usize {
        self.budget.workers()
    }

    /// Leave to hold one piece more, if there are not too many.
    pub(crate) fn permit(&self) -> Option<Permit> {
        let more = |pieces| (pieces < MAX_PIECES).then_some(pieces + 1);
        let pieces = self.budget.pieces.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        pieces.ok().map(|_| Permit { budget: Arc::clone(&self.budget) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Leave to hold a piece, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.pieces.fetch_sub(1, Ordering::Relaxed);
    }
}
