//! Named locks between processes and threads: flock(2) on the files of `locks/`.
//!
//! A lock file may be unlinked while its lock is free, and the next process creates it again. A lock is therefore valid
//! only if the locked file still has its name after it was locked.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use vmroot_model::Digest;
use vmroot_output::flock::{Mode, is_at, try_flock};

use crate::{Error, Result};

/// The first and the longest pause between two attempts to take a lock.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// The same for a lock that is held only for a moment.
const SHORT_PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(4)];

/// The names of the locks, from the first rank to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockName {
    /// Held while a process takes or changes [`Self::Cache`].
    Gate,
    /// The whole cache: shared by its users, exclusive for a process that removes files from it.
    Cache,
    /// The image records: exclusive while one of them is replaced.
    Images,
    /// The merged root of a chain id: exclusive while it is built, shared while it must not be removed.
    Root(Digest),
    /// The index and contents of a diff id: exclusive while they are built, shared while they must not be removed.
    Layer(Digest),
    /// A blob: exclusive while it is fetched or removed.
    Blob(Digest),
    /// The list of files in use: shared while a user adds to it, exclusive while a collection decides and removes. Its
    /// holder waits for no other lock.
    Uses,
}

/// A callback of the wait for a held lock. It gets the path of the lock file before each pause of at most 100 ms.
///
/// The first call is the moment to show a message to the user. To cancel, return `Break`: the wait ends with
/// [`Error::Cancelled`].
pub type WaitHook<'a> = &'a mut dyn FnMut(&Path) -> ControlFlow<()>;

/// Continues to wait: a [`WaitHook`] without a time limit and without a message.
pub fn wait_forever(_: &Path) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A held lock. Dropping it releases the lock, and so does the end of the process.
#[derive(Debug)]
#[must_use = "the lock is released as soon as this is dropped"]
pub struct Lock {
    // Closing the file releases the lock.
    _file: File,
}

impl Lock {
    /// Waits for the lock of the file at `path`, which is created if it is missing.
    pub(crate) fn wait(path: &Path, mode: Mode, on_wait: WaitHook<'_>) -> Result<Self> {
        Self::wait_with(path, mode, PAUSES, on_wait)
    }

    /// Waits for a lock that is held only for a moment.
    pub(crate) fn wait_shortly(path: &Path, mode: Mode, on_wait: WaitHook<'_>) -> Result<Self> {
        Self::wait_with(path, mode, SHORT_PAUSES, on_wait)
    }

    fn wait_with(path: &Path, mode: Mode, pauses: [Duration; 2], on_wait: WaitHook<'_>) -> Result<Self> {
        let [mut pause, longest] = pauses;
        loop {
            if let Some(lock) = Self::attempt(path, mode)? {
                return Ok(lock);
            }
            if on_wait(path).is_break() {
                return Err(Error::Cancelled { path: path.to_owned() });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }

    /// Takes the lock of the file at `path`. Returns `None` if it is held in a mode that excludes `mode`.
    pub(crate) fn attempt(path: &Path, mode: Mode) -> Result<Option<Self>> {
        loop {
            let file = open(path)?;
            if !try_flock(&file, mode).map_err(vmroot_output::Error::on("lock", path))? {
                return Ok(None);
            }
            if is_at(&file, path)? {
                return Ok(Some(Self { _file: file }));
            }
            // The file was unlinked between open and lock. The file that has its name now is the one to lock.
        }
    }
}

/// Removes the file at `path` unless its lock is held. Returns true if it was removed.
pub(crate) fn unlink_unless_locked(path: &Path) -> Result<bool> {
    let Some(_lock) = lock_abandoned(path)? else { return Ok(false) };
    std::fs::remove_file(path).map_err(vmroot_output::Error::on("remove", path))?;
    Ok(true)
}

/// Locks the file or directory at `path` for removal. Returns `None` if its lock is held, or if it does not exist.
pub(crate) fn lock_abandoned(path: &Path) -> Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(vmroot_output::Error { action: "open", path: path.to_owned(), source }.into()),
    };
    let locked =
        try_flock(&file, Mode::Exclusive).map_err(vmroot_output::Error::on("lock", path))? && is_at(&file, path)?;
    Ok(locked.then_some(file))
}

fn open(path: &Path) -> Result<File> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    Ok(open.map_err(vmroot_output::Error::on("open the lock file", path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_exclusive_or_shared() {
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
    fn break_ends_the_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let _held = Lock::attempt(&path, Mode::Shared).unwrap().unwrap();
        let mut calls = 0;
        let mut on_wait = |at: &Path| {
            assert_eq!(at, path);
            calls += 1;
            if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let error = Lock::wait(&path, Mode::Exclusive, &mut on_wait).unwrap_err();
        assert!(matches!(&error, Error::Cancelled { path: at } if *at == path), "{error}");
        assert_eq!(calls, 3);
    }

    #[test]
    fn lock_of_an_unlinked_file_is_void() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let orphan = Lock::attempt(&path, Mode::Exclusive).unwrap().unwrap();
        assert!(!unlink_unless_locked(&path).unwrap(), "the lock is held");
        std::fs::remove_file(&path).unwrap();
        let second = Lock::attempt(&path, Mode::Exclusive).unwrap().unwrap();
        assert!(Lock::attempt(&path, Mode::Exclusive).unwrap().is_none());
        drop(orphan);
        assert!(Lock::attempt(&path, Mode::Exclusive).unwrap().is_none());
        drop(second);
        assert!(unlink_unless_locked(&path).unwrap());
        assert!(!unlink_unless_locked(&path).unwrap(), "the file is already removed");
    }

    #[test]
    fn locks_exclude_threads_while_files_are_unlinked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::wait(&path, Mode::Exclusive, &mut wait_forever).unwrap();
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
