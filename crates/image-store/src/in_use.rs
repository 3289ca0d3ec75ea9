//! Files that threads of a store are using, and that no collection removes.
//!
//! A thread pins the records that it needs. Other processes see the pins through the store's file in `uses/`: see
//! [`vmroot_cache::Uses`]. A collection of any process keeps their files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmroot_cache::{Cache, Hold, Lock, Mode, Needs, Uses};
use vmroot_model::Digest;

use crate::root::chain_id;
use crate::{Record, Result};

/// The records in use.
#[derive(Debug, Clone)]
pub(crate) struct InUse {
    cache: Cache,
    uses: Uses,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The records of each live pin, by the pin's number.
    pinned: BTreeMap<u64, Vec<Record>>,
    next: u64,
}

/// Keeps the files of some records until it is dropped or released.
#[derive(Debug)]
pub(crate) struct Pin {
    in_use: InUse,
    number: u64,
    hold: Hold,
}

/// Prevents new pins of this store, and collections, while it is alive.
pub(crate) struct Freeze<'a> {
    state: MutexGuard<'a, State>,
    _uses: Option<Lock>,
}

impl InUse {
    pub(crate) fn new(cache: &Cache, uses: &Uses) -> Self {
        Self { cache: cache.clone(), uses: uses.clone(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the files of a record. Waits while a collection decides.
    ///
    /// If the record was read earlier, a collection may have run in between: the caller must then check that the record
    /// still exists.
    pub(crate) fn pin(&self, record: &Record) -> Result<Pin> {
        self.pin_all(|| Ok((vec![record.clone()], ()))).map(|(pin, ..)| pin)
    }

    /// Reads records and pins them, with no collection in between.
    pub(crate) fn pin_all<T>(&self, read: impl FnOnce() -> Result<(Vec<Record>, T)>) -> Result<(Pin, Vec<Record>, T)> {
        let found = self.uses.hold_with(|| {
            let (records, rest) = read()?;
            let mut needs = Needs::default();
            records.iter().for_each(|record| add_needs(&mut needs, record));
            Ok::<_, crate::Error>((needs, (records, rest)))
        });
        let (hold, (records, rest)) = found?;
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.pinned.insert(number, records.clone());
        drop(state);
        Ok((Pin { in_use: self.clone(), number, hold }, records, rest))
    }

    /// Keeps blobs that no record has yet.
    pub(crate) fn hold_blob(&self, digest: &Digest) -> Result<Hold> {
        Ok(self.uses.hold(Needs { blobs: [*digest].into(), ..Needs::default() })?)
    }

    /// Prevents new pins of this store, and collections, while the result is alive.
    pub(crate) fn freeze(&self) -> Freeze<'_> {
        // Without the lock, a collection of another process may remove files that no image needs.
        let uses = self.cache.lock_uses(Mode::Shared).ok();
        Freeze { state: self.state(), _uses: uses }
    }
}

impl Freeze<'_> {
    /// Returns the pinned records of this store. These may not be on disk yet, or no longer.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.state.pinned.values().flatten()
    }
}

impl Pin {
    /// Stops keeping the files.
    pub(crate) fn release(&self) {
        self.hold.release();
        self.in_use.state().pinned.remove(&self.number);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.release();
    }
}

/// Adds the files of an image to `needs`.
pub(crate) fn add_needs(needs: &mut Needs, record: &Record) {
    needs.images.insert(*record.id());
    needs.blobs.extend(record.documents());
    needs.blobs.extend(record.layers.iter().map(|layer| layer.digest));
    let diff_ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id).collect();
    needs.roots.insert(chain_id(&diff_ids));
    needs.layers.extend(diff_ids);
}
