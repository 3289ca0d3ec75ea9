//! What the threads of one store need while they work, so that a collection on another thread leaves it alone.
//!
//! Other processes are kept out by the lock of the cache. Within a process that lock says nothing: the store holds it for
//! all its threads. So each of them says here which records it needs, and a collection takes them for records like those
//! on the disk. No thread holds the mutex while it waits for another, or while it calls back: a collection always ends,
//! and so may even be started by a receiver of progress events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Record, Result};

/// What is in use.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The records of each pin that is alive, by its number.
    pinned: BTreeMap<u64, Vec<Record>>,
    next: u64,
    /// How many threads may be writing temporary files.
    working: usize,
}

/// Keeps all that some records need, until it is dropped or released.
#[derive(Debug)]
pub(crate) struct Pin {
    in_use: InUse,
    number: u64,
}

/// A thread that may be writing temporary files.
#[derive(Debug)]
pub(crate) struct Working {
    in_use: InUse,
}

/// A moment in which nothing comes into use.
pub(crate) struct Still<'a> {
    state: MutexGuard<'a, State>,
}

impl InUse {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins work that writes temporary files; waits for the end of a collection.
    pub(crate) fn work(&self) -> Working {
        self.state().working += 1;
        Working { in_use: self.clone() }
    }

    /// Keeps what a record needs; waits for the end of a collection.
    ///
    /// Of a record that was read before, the caller looks afterwards whether it is still there: a collection may have come
    /// between.
    pub(crate) fn pin(&self, record: &Record) -> Pin {
        self.insert(&mut self.state(), vec![record.clone()])
    }

    /// Reads records and keeps what they need, without a collection in between.
    pub(crate) fn pin_all<T>(&self, read: impl FnOnce() -> Result<(Vec<Record>, T)>) -> Result<(Pin, Vec<Record>, T)> {
        let mut state = self.state();
        let (records, rest) = read()?;
        Ok((self.insert(&mut state, records.clone()), records, rest))
    }

    fn insert(&self, state: &mut State, records: Vec<Record>) -> Pin {
        let number = state.next;
        state.next += 1;
        state.pinned.insert(number, records);
        Pin { in_use: self.clone(), number }
    }

    /// Lets nothing come into use while the result is alive.
    pub(crate) fn still(&self) -> Still<'_> {
        Still { state: self.state() }
    }
}

impl Still<'_> {
    /// The records that are needed though they may not be on the disk, or not any more.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.state.pinned.values().flatten()
    }

    /// Whether no temporary file is being written.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.working == 0
    }
}

impl Pin {
    /// Keeps nothing any more.
    pub(crate) fn release(&self) {
        self.in_use.state().pinned.remove(&self.number);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.release();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.in_use.state().working -= 1;
    }
}
