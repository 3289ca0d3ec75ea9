//! How much of the machine decoding ahead may take.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use crate::chunk::Chunk;
use crate::inflate::Symbols;

/// Threads that decode ahead for one stream. The thread that hashes the output cannot keep up with more.
const MAX_WORKERS: usize = 6;

/// Pieces that a process holds, being decoded or waiting to be taken. Each has less than 7 MiB: 2 MiB of bytes, twice
/// as much of symbols, and the compressed bytes. Beside them, a stream has less than 12 MiB: 6 MiB of compressed bytes
/// that were read, and less than a mebibyte for each thread.
pub(crate) const MAX_PIECES: usize = 8;

/// Cores below which nothing is decoded ahead: a stream has two busy threads anyway, one that decodes and one that takes.
const MIN_CORES: usize = 4;

/// Memory that a piece is decoded into.
pub(crate) type Room = (Chunk, Symbols);

/// The cores and the memory that all streams of a process share.
#[derive(Debug)]
pub(crate) struct Budget {
    cores: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: usize,
    /// Pieces that there are.
    pieces: usize,
    /// Memory of earlier pieces. More is made only when there is none here, so there is never more of it than the most
    /// pieces at a time.
    chunks: Vec<Chunk>,
    symbols: Vec<Symbols>,
}

impl Budget {
    pub(crate) fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self { cores, state: Mutex::default() })
    }

    /// The budget of this process.
    pub(crate) fn of_process() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Budget>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| Self::new(thread::available_parallelism().map_or(1, NonZero::get))))
    }

    /// Counts a stream until the share is dropped.
    pub(crate) fn share(self: Arc<Self>) -> Share {
        self.state().streams += 1;
        Share { budget: self }
    }

    /// Takes back the memory of a piece; returns a chunk that is not of one.
    pub(crate) fn take_back(&self, (chunk, symbols): Room) -> Option<Chunk> {
        self.state().keep(|state| state.symbols.push(symbols));
        chunk.give_back()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps memory while there are streams to use it.
    fn keep(&mut self, keep: impl FnOnce(&mut Self)) {
        if self.streams > 0 {
            keep(self);
        }
    }
}

/// One stream's part in a budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
}

impl Share {
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Threads that may decode ahead for one stream: the cores that the present streams leave idle, and one more since
    /// the thread of the stream itself has little to do then.
    pub(crate) fn workers(&self) -> usize {
        let cores = self.budget.cores;
        if cores < MIN_CORES {
            return 0;
        }
        (cores + 1).saturating_sub(2 * self.budget.state().streams).min(MAX_WORKERS)
    }

    /// Memory for one piece more of up to `size` bytes, if there are not too many. All streams ask for the same size.
    pub(crate) fn room(&self, size: usize) -> Option<Room> {
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

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.streams -= 1;
        if state.streams == 0 {
            state.chunks = Vec::new();
            state.symbols = Vec::new();
        }
    }
}

/// Leave to hold a piece, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
}

impl Permit {
    /// Ends it, and leaves the chunk of the piece to another one.
    pub(crate) fn end(self, chunk: Chunk) {
        self.budget.state().keep(|state| state.chunks.push(chunk));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.state().pieces -= 1;
    }
}
