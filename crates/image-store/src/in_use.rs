//! Files that threads of one store are using and that a collection must keep.
//!
//! The lock of the cache keeps other processes out, but the store holds it for all its threads. Therefore each thread
//! pins the records that it needs, and a collection treats these like records on disk.
//!
//! No thread waits for another thread, or calls back, while it holds the mutex. A collection therefore always ends, and
//! may even be started by a receiver of progress events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Record, Result};

/// The records and temporary files in use.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The records of each live pin, by the pin's number.
    pinned: BTreeMap<u64, Vec<Record>>,
    next: u64,
    /// The number of threads that may be writing temporary files.
    working: usize,
}

/// Keeps the files of some records until it is dropped or released.
#[derive(Debug)]
pub(crate) struct Pin {
    in_use: InUse,
    number: u64,
}

/// Marks a thread that may be writing temporary files, until it is dropped.
#[derive(Debug)]
pub(crate) struct Work {
    in_use: InUse,
}

/// Prevents new pins and new work while it is alive.
pub(crate) struct Freeze<'a> {
    state: MutexGuard<'a, State>,
}

impl InUse {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins work that writes temporary files. Waits for the end of a collection.
    pub(crate) fn begin_work(&self) -> Work {
        self.state().working += 1;
        Work { in_use: self.clone() }
    }

    /// Keeps the files of a record. Waits for the end of a collection.
    ///
    /// If the record was read earlier, a collection may have run in between: the caller must then check that the record
    /// still exists.
    pub(crate) fn pin(&self, record: &Record) -> Pin {
        self.insert(&mut self.state(), vec![record.clone()])
    }

    /// Reads records and pins them, with no collection in between.
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

    /// Prevents new pins and new work while the result is alive.
    pub(crate) fn freeze(&self) -> Freeze<'_> {
        Freeze { state: self.state() }
    }
}

impl Freeze<'_> {
    /// Returns the pinned records. These may not be on disk yet, or no longer.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.state.pinned.values().flatten()
    }

    /// Returns whether no thread is writing temporary files.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.working == 0
    }
}

impl Pin {
    /// Stops keeping the files.
    pub(crate) fn release(&self) {
        self.in_use.state().pinned.remove(&self.number);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.release();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.in_use.state().working -= 1;
    }
}
