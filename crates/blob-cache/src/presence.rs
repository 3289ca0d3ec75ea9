//! Being in a cache: users hold its lock shared, and a remover holds it exclusively.
//!
//! flock(2) cannot turn a shared lock into an exclusive one in one step: in between, another process could get it. So
//! a process that takes or changes the lock of the cache holds [`LockName::Gate`] meanwhile.

use std::sync::{Mutex, PoisonError};

use crate::Result;
use crate::cache::Cache;
use crate::lock::{Lock, LockName, Mode, Waiting, patiently};

/// A user of a cache. While it is alive, no other user removes anything from the cache.
#[derive(Debug)]
pub struct Presence {
    cache: Cache,
    /// Of [`LockName::Cache`], shared; away only while the gate is held.
    lock: Mutex<Option<Lock>>,
}

impl Cache {
    /// Begins to use the cache. The first user sweeps away what killed processes left.
    ///
    /// # Errors
    /// [`Error::GaveUp`](crate::Error::GaveUp) if `waiting` breaks off, which it may while another user removes things; [`Error::Io`](crate::Error::Io) where a
    /// file cannot be locked or removed.
    pub fn enter(&self, waiting: Waiting<'_>) -> Result<Presence> {
        let _gate = self.lock(&LockName::Gate, Mode::Exclusive, waiting)?;
        if let Some(_alone) = self.try_lock(&LockName::Cache, Mode::Exclusive)? {
            self.sweep()?;
        }
        let lock = self.lock(&LockName::Cache, Mode::Shared, waiting)?;
        Ok(Presence { cache: self.clone(), lock: Mutex::new(Some(lock)) })
    }
}

impl Presence {
    /// Does `work` if there is no other user, and keeps others out until it is done; `None` if there is one.
    ///
    /// This keeps out other users, not other threads of this one: what those need is for the caller to know.
    ///
    /// # Errors
    /// [`Error::GaveUp`](crate::Error::GaveUp) if `waiting` breaks off; [`Error::Io`](crate::Error::Io) where the lock cannot be taken.
    pub fn alone<T>(&self, waiting: Waiting<'_>, work: impl FnOnce() -> T) -> Result<Option<T>> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _gate = self.cache.lock(&LockName::Gate, Mode::Exclusive, waiting)?;
        drop(lock.take());
        let alone = self.cache.try_lock(&LockName::Cache, Mode::Exclusive);
        let done = alone.map(|alone| alone.map(|_exclusive| work()));
        // Nobody can hold it the other way for long: the gate is ours.
        *lock = Some(self.cache.lock(&LockName::Cache, Mode::Shared, &mut patiently)?);
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
    fn one_user_may_be_alone_and_two_may_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let first = cache.enter(&mut patiently).unwrap();
        assert_eq!(first.alone(&mut patiently, || 1).unwrap(), Some(1));
        let second = cache.enter(&mut patiently).unwrap();
        assert_eq!(first.alone(&mut patiently, || 2).unwrap(), None);
        drop(first);
        assert_eq!(second.alone(&mut patiently, || 3).unwrap(), Some(3));
        assert!(cache.try_lock(&LockName::Cache, Mode::Exclusive).unwrap().is_none(), "it is shared again");
    }

    #[test]
    fn nobody_comes_in_while_one_is_alone() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let first = cache.enter(&mut patiently).unwrap();
        let mut impatiently = |_: &Path| ControlFlow::Break(());
        let inside = first.alone(&mut patiently, || cache.enter(&mut impatiently).map(drop)).unwrap().unwrap();
        assert!(matches!(inside, Err(Error::GaveUp { .. })), "{inside:?}");
        assert!(cache.enter(&mut impatiently).is_ok());
    }

    /// A user that fails to be alone loses nothing to another that is waiting for the same.
    #[test]
    fn of_many_that_try_to_be_alone_none_ever_is() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let _present = cache.enter(&mut patiently).unwrap();
        let alone = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let user = cache.enter(&mut patiently).unwrap();
                    for _ in 0..50 {
                        if user.alone(&mut patiently, || ()).unwrap().is_some() {
                            alone.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert_eq!(alone.into_inner(), 0);
    }
}
