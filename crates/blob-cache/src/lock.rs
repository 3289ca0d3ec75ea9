//! Named locks between processes and threads: flock(2) on files of `locks/`.
//!
//! A lock file may be unlinked while nobody holds its lock, and is made again by whoever wants it next. So a lock counts
//! only if, once it is held, the file that was locked is still the one with that name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use vmroot_model::Digest;

use crate::{Error, Result};

/// How long to wait between two attempts at a lock that another holds: at first, and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// What a lock stands for, from the first rank to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockName {
    /// Held while a process takes or changes the lock of the cache.
    Gate,
    /// The cache as a whole: held shared by who uses it, exclusively by who removes things from it.
    Cache,
    /// The image records, held exclusively while one is replaced.
    Images,
    /// The merged root of a chain id: exclusively while it is made, shared while it must not be removed.
    Root(Digest),
    /// The index and contents of a diff id: exclusively while they are made, shared while they must not be removed.
    Layer(Digest),
    /// A blob, held exclusively while it is fetched or removed.
    Blob(Digest),
}

/// Whether others may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Any number may hold it at once.
    Shared,
    /// One alone may hold it.
    Exclusive,
}

/// Called with the path of a lock that another process or thread holds, before each pause of at most 100 ms.
///
/// The first call is the moment to tell a user that another process is at work. `Break` gives up with
/// [`Error::GaveUp`], which is how cancellation reaches a thread that waits.
pub type Waiting<'a> = &'a mut dyn FnMut(&Path) -> ControlFlow<()>;

/// The [`Waiting`] of who has nothing to tell and never gives up.
pub fn patiently(_: &Path) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A lock that is held until this is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the lock is released as soon as this is dropped"]
pub struct Lock {
    // Only held: closing the file releases the lock.
    _file: File,
}

impl Lock {
    /// Waits for the lock of the file at `path`, which is made if it is missing.
    pub(crate) fn wait(path: &Path, mode: Mode, waiting: Waiting<'_>) -> Result<Self> {
        let [mut pause, longest] = PAUSES;
        loop {
            if let Some(lock) = Self::attempt(path, mode)? {
                return Ok(lock);
            }
            if waiting(path).is_break() {
                return Err(Error::GaveUp { path: path.to_owned() });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }

    /// Takes the lock of the file at `path` if nobody holds it in a way that excludes `mode`.
    pub(crate) fn attempt(path: &Path, mode: Mode) -> Result<Option<Self>> {
        loop {
            let file = open(path)?;
            if !try_flock(&file, mode).map_err(Error::io("lock", path))? {
                return Ok(None);
            }
            if is_at(&file, path)? {
                return Ok(Some(Self { _file: file }));
            }
            // Somebody unlinked it between open and lock: the lock of the file that took its place is the one to have.
        }
    }
}

/// Removes the file at `path` if nobody holds its lock. Says whether it did.
pub(crate) fn unlink_unless_locked(path: &Path) -> Result<bool> {
    let Some(_lock) = lock_abandoned(path)? else { return Ok(false) };
    std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    Ok(true)
}

/// Locks the file or directory at `path`, for its removal; `None` where its lock is held, or it is gone.
pub(crate) fn lock_abandoned(path: &Path) -> Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { action: "open", path: path.to_owned(), source }),
    };
    let locked = try_flock(&file, Mode::Exclusive).map_err(Error::io("lock", path))? && is_at(&file, path)?;
    Ok(locked.then_some(file))
}

/// Takes the flock(2) of a file if it is free in this mode.
pub(crate) fn try_flock(file: &File, mode: Mode) -> io::Result<bool> {
    let attempt = match mode {
        Mode::Shared => file.try_lock_shared(),
        Mode::Exclusive => file.try_lock(),
    };
    match attempt {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether `file` is the one that `path` names now.
pub(crate) fn is_at(file: &File, path: &Path) -> Result<bool> {
    let held = file.metadata().map_err(Error::io("stat", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { action: "stat", path: path.to_owned(), source }),
    }
}

fn open(path: &Path) -> Result<File> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    open.map_err(Error::io("open the lock file", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_many_that_share() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let exclusive = Lock::attempt(&path, Mode::Exclusive).unwrap().unwrap();
        assert!(Lock::attempt(&path, Mode::Exclusive).unwrap().is_none());
        assert!(Lock::attempt(&path, Mode::Shared).unwrap().is_none());
        drop(exclusive);
        let shared = [(); 2].map(|()| Lock::attempt(&path, Mode::Shared).unwrap().unwrap());
        assert!(Lock::attempt(&path, Mode::Exclusive).unwrap().is_none());
        drop(shared);
        assert!(Lock::attempt(&path, Mode::Exclusive).unwrap().is_some());
    }

    #[test]
    fn giving_up_ends_the_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let _held = Lock::attempt(&path, Mode::Shared).unwrap().unwrap();
        let mut calls = 0;
        let mut waiting = |at: &Path| {
            assert_eq!(at, path);
            calls += 1;
            if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = Lock::wait(&path, Mode::Exclusive, &mut waiting).unwrap_err();
        assert!(matches!(&error, Error::GaveUp { path: at } if *at == path), "{error}");
        assert_eq!(calls, 3);
    }

    #[test]
    fn an_unlinked_file_locks_nobody_out_and_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let orphan = Lock::attempt(&path, Mode::Exclusive).unwrap().unwrap();
        assert!(!unlink_unless_locked(&path).unwrap(), "it is held");
        std::fs::remove_file(&path).unwrap();
        let second = Lock::attempt(&path, Mode::Exclusive).unwrap().unwrap();
        assert!(Lock::attempt(&path, Mode::Exclusive).unwrap().is_none());
        drop(orphan);
        assert!(Lock::attempt(&path, Mode::Exclusive).unwrap().is_none());
        drop(second);
        assert!(unlink_unless_locked(&path).unwrap());
        assert!(!unlink_unless_locked(&path).unwrap(), "it is gone");
    }

    #[test]
    fn threads_exclude_each_other_while_the_file_is_unlinked_under_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::wait(&path, Mode::Exclusive, &mut patiently).unwrap();
                        let others = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(others, 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..500 {
                    unlink_unless_locked(&path).unwrap();
                    thread::yield_now();
                }
            });
        });
    }
}
