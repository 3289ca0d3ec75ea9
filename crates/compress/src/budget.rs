//! The cores and the memory that speculative decoding may use.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use crate::chunk::Chunk;
use crate::inflate::Symbols;

/// The most threads that decode ahead for one stream. The thread that hashes the output cannot keep up with more.
const MAX_WORKERS: usize = 6;

/// The most pieces that a process holds, being decoded or waiting to be taken.
///
/// A piece has less than 7 MiB: 2 MiB of bytes, 4 MiB of symbols, and its compressed bytes. In addition, a stream has
/// less than 12 MiB: 6 MiB of compressed bytes that were read, and less than a mebibyte for each thread.
pub(crate) const MAX_PIECES: usize = 8;

/// The least number of cores for decoding ahead. A stream already has two busy threads: the decoder and the consumer.
const MIN_CORES: usize = 4;

/// The memory that a piece is decoded into.
pub(crate) type PieceBuffers = (Chunk, Symbols);

/// The cores and the memory that all streams of a process share.
#[derive(Debug)]
pub(crate) struct Budget {
    cores: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: usize,
    /// The number of pieces.
    pieces: usize,
    /// The memory of earlier pieces, for reuse. New memory is allocated only when these are empty, which bounds the
    /// total by the largest number of pieces at a time.
    chunks: Vec<Chunk>,
    symbols: Vec<Symbols>,
}

impl Budget {
    pub(crate) fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self { cores, state: Mutex::default() })
    }

    /// Returns the budget of this process.
    pub(crate) fn of_process() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Budget>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Self::new(thread::available_parallelism().map_or(1, NonZero::get))))
    }

    /// Registers a stream until the share is dropped.
    pub(crate) fn share(self: Arc<Self>) -> StreamShare {
        self.state().streams += 1;
        StreamShare { budget: self }
    }

    /// Reclaims the memory of a piece. Returns the chunk if it does not belong to a piece.
    pub(crate) fn reclaim(&self, (chunk, symbols): PieceBuffers) -> Option<Chunk> {
        self.state().keep(|state| state.symbols.push(symbols));
        chunk.give_back()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps memory for reuse while there are streams.
    fn keep(&mut self, keep: impl FnOnce(&mut Self)) {
        if self.streams > 0 {
            keep(self);
        }
    }
}

/// The share of one stream in a budget.
#[derive(Debug)]
pub(crate) struct StreamShare {
    budget: Arc<Budget>,
}

impl StreamShare {
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Returns the number of threads that may decode ahead for a stream: the cores that all streams leave idle, plus
    /// one, because the stream's own thread is then mostly idle.
    pub(crate) fn worker_count(&self) -> usize {
        let cores = self.budget.cores;
        if cores < MIN_CORES {
            return 0;
        }
        (cores + 1).saturating_sub(2 * self.budget.state().streams).min(MAX_WORKERS)
    }

    /// Returns the memory for a piece of up to `size` bytes, or `None` if there are too many pieces. All streams must
    /// use the same size.
    pub(crate) fn allocate(&self, size: usize) -> Option<PieceBuffers> {
        let mut state = self.budget.state();
        if state.pieces == MAX_PIECES {
            return None;
        }
        state.pieces += 1;
        let (chunk, symbols) = (state.chunks.pop(), state.symbols.pop());
        drop(state);
        let mut chunk = chunk.unwrap_or_else(|| Chunk::new(size));
        chunk.permit = Some(Permit { budget: Arc::clone(&self.budget) });
        Some((chunk, symbols.unwrap_or_else(|| Symbols::new(size))))
    }
}

impl Drop for StreamShare {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.streams -= 1;
        if state.streams == 0 {
            state.chunks = Vec::new();
            state.symbols = Vec::new();
        }
    }
}

/// The right to hold a piece.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
}

impl Permit {
    /// Gives up the permit, and makes the chunk available for another piece.
    pub(crate) fn release(self, chunk: Chunk) {
        self.budget.state().keep(|state| state.chunks.push(chunk));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.state().pieces -= 1;
    }
}
