//! Use of a cache: users hold its lock shared, and a process that removes files holds it exclusively.
//!
//! flock(2) cannot turn a shared lock into an exclusive one in one step: another process could take it in between. So a
//! process holds [`LockName::Gate`] while it takes or changes the lock of the cache.

use std::sync::{Mutex, PoisonError};

use vmroot_output::flock::Mode;

use crate::Result;
use crate::cache::Cache;
use crate::lock::{Lock, LockName, WaitHook, wait_forever};

/// A user of a cache. No other process removes files from the cache while this exists.
#[derive(Debug)]
pub struct Presence {
    cache: Cache,
    /// The shared lock of [`LockName::Cache`]. It is `None` only while the gate is held, and for a cache that cannot be
    /// written.
    lock: Mutex<Option<Lock>>,
}

impl Cache {
    /// Begins to use the cache. The first user sweeps the files that killed processes left.
    ///
    /// A user that may not write to the cache takes no lock, so it does not keep others from removing files.
    ///
    /// # Errors
    /// - [`Error::Cancelled`](crate::Error::Cancelled): `on_wait` returned `Break`, possible while another user removes
    ///   files.
    /// - [`Error::Io`](crate::Error::Io): a file cannot be locked or removed.
    pub fn enter(&self, on_wait: WaitHook<'_>) -> Result<Presence> {
        if !self.is_writable() {
            return Ok(Presence { cache: self.clone(), lock: Mutex::new(None) });
        }
        let _gate = self.lock(&LockName::Gate, Mode::Exclusive, on_wait)?;
        if let Some(_alone) = self.try_lock(&LockName::Cache, Mode::Exclusive)? {
            self.sweep()?;
        }
        let lock = self.lock(&LockName::Cache, Mode::Shared, on_wait)?;
        Ok(Presence { cache: self.clone(), lock: Mutex::new(Some(lock)) })
    }
}

impl Presence {
    /// Runs `work` if there is no other user, and keeps new users out until it returns. Returns `None` if there is
    /// another user.
    ///
    /// It does not exclude other threads that share this `Presence`; the caller has to.
    ///
    /// # Errors
    /// - [`Error::Cancelled`](crate::Error::Cancelled): `on_wait` returned `Break`.
    /// - [`Error::Io`](crate::Error::Io): the lock cannot be taken.
    pub fn run_alone<T>(&self, on_wait: WaitHook<'_>, work: impl FnOnce() -> T) -> Result<Option<T>> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _gate = self.cache.lock(&LockName::Gate, Mode::Exclusive, on_wait)?;
        drop(lock.take());
        let alone = self.cache.try_lock(&LockName::Cache, Mode::Exclusive);
        let done = alone.map(|alone| alone.map(|_exclusive| work()));
        // The wait is short, because changing the lock needs the gate, which is held here.
        *lock = Some(self.cache.lock(&LockName::Cache, Mode::Shared, &mut wait_forever)?);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::Error;

    #[test]
    fn only_a_single_user_gets_exclusive_use() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let first = cache.enter(&mut wait_forever).unwrap();
        assert_eq!(first.run_alone(&mut wait_forever, || 1).unwrap(), Some(1));
        let second = cache.enter(&mut wait_forever).unwrap();
        assert_eq!(first.run_alone(&mut wait_forever, || 2).unwrap(), None);
        drop(first);
        assert_eq!(second.run_alone(&mut wait_forever, || 3).unwrap(), Some(3));
        assert!(cache.try_lock(&LockName::Cache, Mode::Exclusive).unwrap().is_none(), "the lock is shared again");
    }

    #[test]
    fn exclusive_use_keeps_new_users_out() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let first = cache.enter(&mut wait_forever).unwrap();
        let mut cancel = |_: &Path| ControlFlow::Break(());
        let inside = first.run_alone(&mut wait_forever, || cache.enter(&mut cancel).map(drop)).unwrap().unwrap();
        assert!(matches!(inside, Err(Error::Cancelled { .. })), "{inside:?}");
        assert!(cache.enter(&mut cancel).is_ok());
    }

    /// The users also compete with each other for the exclusive lock.
    #[test]
    fn several_users_never_get_exclusive_use() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let _present = cache.enter(&mut wait_forever).unwrap();
        let alone = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let user = cache.enter(&mut wait_forever).unwrap();
                    for _ in 0..50 {
                        if user.run_alone(&mut wait_forever, || ()).unwrap().is_some() {
                            alone.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(alone.into_inner(), 0);
    }
}
