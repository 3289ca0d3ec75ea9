//! Users of a cache, and collections beside them.
//!
//! A user holds [`LockName::Cache`] shared. Earlier versions of vmroot need it exclusively to remove files, so they remove
//! none while there is another user. They do not list the files that they need, so this version removes none while they
//! use the cache.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use vmroot_output::flock::Mode;

use crate::Result;
use crate::cache::Cache;
use crate::lock::{Lock, LockName, WaitHook};
use crate::uses::{Use, Uses, count_processes, has_files};

/// The number of times that the locks are counted. The kernel shows a lock twice if others change meanwhile.
const COUNTS: u32 = 8;
/// The number of readings of `/proc/locks` for one count. The kernel prints the table a page at a time, and leaves out a
/// lock if one before it ends between two pages (fs/seq_file.c). The largest count is the right one.
///
/// The first reading takes up to 6 ms, because the kernel stops all changes of locks for it (locks_start in fs/locks.c).
/// Each further one takes about 20 µs.
const READINGS: usize = 4;
/// The size of a read in bytes. A read that is shorter than a page gets less than a page of the table, and so more locks
/// would be left out.
const TABLE: usize = 64 << 10;

/// A user of a cache.
#[derive(Debug)]
pub struct Presence {
    cache: Cache,
    uses: Uses,
}

/// The gate of a cache. While it is closed, there are no new users.
#[derive(Debug)]
pub struct ClosedGate<'a> {
    presence: &'a Presence,
    _gate: Lock,
}

/// A moment in which no user adds to its needs, so a collection can decide and remove. It must be short.
#[derive(Debug)]
pub struct Exclusion<'a> {
    /// All users, including the caller.
    pub uses: Vec<Use>,
    _gate: ClosedGate<'a>,
    _uses: Lock,
}

impl Cache {
    /// Begins to use the cache. The first user sweeps the files that a killed user left, if there was one. `purpose` is
    /// what the user does, as others see it.
    ///
    /// A user that may not write to the cache takes no lock, so it does not keep others from removing files.
    ///
    /// # Errors
    /// - [`Error::Cancelled`](crate::Error::Cancelled): `on_wait` returned `Break`.
    /// - [`Error::Io`](crate::Error::Io): a file cannot be made, locked or removed.
    pub fn enter(&self, purpose: &str, on_wait: WaitHook<'_>) -> Result<Presence> {
        if !self.is_writable() {
            return Ok(Presence { cache: self.clone(), uses: Uses::of_reader(self) });
        }
        let _gate = self.lock(&LockName::Gate, Mode::Exclusive, on_wait)?;
        if let Some(_alone) = self.try_lock(&LockName::Cache, Mode::Exclusive)? {
            match has_files(self.layout())? {
                true => {
                    self.sweep()?;
                    // Removes the files of killed users.
                    self.uses(None)?;
                }
                // Users that ended by themselves left no temporary files, so the large directories are not listed.
                false => self.sweep_locks()?,
            }
        }
        let lock = self.lock(&LockName::Cache, Mode::Shared, on_wait)?;
        Ok(Presence { cache: self.clone(), uses: Uses::new(self, purpose, lock)? })
    }
}

impl Presence {
    /// Returns the files that this user needs.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Closes the gate. Returns `None` if a process of an earlier version uses the cache.
    ///
    /// Such a process is found in `/proc/locks`. It is not found if `/proc` is not mounted, or belongs to another PID
    /// namespace.
    ///
    /// # Errors
    /// - [`Error::Cancelled`](crate::Error::Cancelled): `on_wait` returned `Break`.
    /// - [`Error::Io`](crate::Error::Io): the lock cannot be taken.
    pub fn close_gate(&self, on_wait: WaitHook<'_>) -> Result<Option<ClosedGate<'_>>> {
        let gate = self.cache.lock(&LockName::Gate, Mode::Exclusive, on_wait)?;
        let known = count_processes(self.cache.layout())?;
        let is_known = (0..COUNTS).any(|_| self.count_users() <= known);
        Ok(is_known.then_some(ClosedGate { presence: self, _gate: gate }))
    }

    /// Returns the number of holders of the lock of the cache, as far as the kernel shows them.
    fn count_users(&self) -> usize {
        let Ok(metadata) = fs::metadata(self.cache.layout().lock(&LockName::Cache)) else { return 0 };
        let read = |_| {
            let mut table = Vec::with_capacity(TABLE);
            // Without the table, no process is found.
            let _ = File::open("/proc/locks").and_then(|mut file| file.read_to_end(&mut table));
            count_holders(&String::from_utf8_lossy(&table), metadata.ino(), std::process::id())
        };
        (0..READINGS).map(read).max().unwrap_or_default()
    }
}

/// Returns the number of locks on a file that a process of this id also holds.
///
/// The device of the file is that of the process's own lock: some file systems show another one in stat(2).
fn count_holders(table: &str, inode: u64, own: u32) -> usize {
    let inode = inode.to_string();
    // `1: FLOCK  ADVISORY  READ 1234 fd:01:5678 0 EOF`; a waiting process has `->` in front of its type.
    let locks = || {
        table.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            if fields.next() != Some("FLOCK") {
                return None;
            }
            let (pid, file) = (fields.nth(2)?, fields.next()?);
            let (device, number) = file.rsplit_once(':')?;
            (number == inode).then_some((pid, device))
        })
    };
    let own = own.to_string();
    let Some((_, device)) = locks().find(|(pid, _)| *pid == own) else { return 0 };
    locks().filter(|(_, other)| *other == device).count()
}

impl<'a> ClosedGate<'a> {
    /// Waits until no user is adding to its needs, and keeps them from it.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the lock cannot be taken, or a use cannot be read.
    pub fn exclude(self) -> Result<Exclusion<'a>> {
        let Presence { cache, uses } = self.presence;
        let lock = cache.lock_uses(Mode::Exclusive)?;
        Ok(Exclusion { uses: cache.uses(Some(uses))?, _uses: lock, _gate: self })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use vmroot_model::Digest;

    use super::*;
    use crate::{Needs, User, wait_forever};

    fn needs(text: &str) -> Needs {
        Needs { blobs: [Digest::of(text.as_bytes())].into(), ..Needs::default() }
    }

    fn needed_by_others(presence: &Presence) -> Vec<Needs> {
        let exclusion = presence.close_gate(&mut wait_forever).unwrap().unwrap().exclude().unwrap();
        exclusion.uses.iter().filter(|found| !found.is_own).map(|found| found.needs.clone()).collect()
    }

    #[test]
    fn a_user_is_seen_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let first = cache.enter("first", &mut wait_forever).unwrap();
        let second = cache.enter("second", &mut wait_forever).unwrap();
        let hold = first.uses().hold(needs("a")).unwrap();
        let _other = first.uses().hold(needs("b")).unwrap();
        let exclusion = second.close_gate(&mut wait_forever).unwrap().unwrap().exclude().unwrap();
        let found = exclusion.uses.iter().find(|found| !found.is_own).unwrap();
        assert_eq!(found.user, User::Process { pid: std::process::id(), purpose: "first".to_owned() });
        assert_eq!(found.needs.blobs.len(), 2);
        drop(exclusion);
        drop(hold);
        assert_eq!(needed_by_others(&second), [needs("b")]);
        drop(first);
        assert_eq!(needed_by_others(&second), [needs("b")], "the hold is still there");
        drop(_other);
        assert_eq!(needed_by_others(&second), [] as [Needs; 0]);
        assert_eq!(fs::read_dir(cache.layout().uses()).unwrap().count(), 1);
    }

    /// The lines of released holds do not fill the disk.
    #[test]
    fn the_file_of_a_user_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let (user, other) = (cache.enter("", &mut wait_forever).unwrap(), cache.enter("", &mut wait_forever).unwrap());
        let kept = user.uses().hold(needs("kept")).unwrap();
        let large = Needs { blobs: (0..200_u32).map(|n| Digest::of(&n.to_le_bytes())).collect(), ..Needs::default() };
        for _ in 0..400 {
            drop(user.uses().hold(large.clone()).unwrap());
        }
        let length = |directory| fs::read_dir(directory).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).max();
        assert!(length(cache.layout().uses()).unwrap() < 2 << 20);
        assert_eq!(needed_by_others(&other), [needs("kept")]);
        drop(kept);
        assert!(length(cache.layout().uses()).unwrap() < 200);
    }

    /// A hold excludes a collection that is deciding.
    #[test]
    fn a_hold_waits_for_a_collection() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let presence = cache.enter("", &mut wait_forever).unwrap();
        let exclusion = presence.close_gate(&mut wait_forever).unwrap().unwrap().exclude().unwrap();
        thread::scope(|scope| {
            let holding = scope.spawn(|| presence.uses().hold(needs("a")).unwrap());
            thread::sleep(std::time::Duration::from_millis(50));
            assert!(!holding.is_finished());
            drop(exclusion);
            drop(holding.join().unwrap());
        });
    }

    /// A process of an earlier version holds only the lock of the cache.
    #[test]
    fn a_user_without_a_file_keeps_all_files() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let presence = cache.enter("", &mut wait_forever).unwrap();
        let earlier = cache.lock(&LockName::Cache, Mode::Shared, &mut wait_forever).unwrap();
        assert!(cache.try_lock(&LockName::Cache, Mode::Exclusive).unwrap().is_none(), "nor does it remove any");
        assert!(presence.close_gate(&mut wait_forever).unwrap().is_none());
        drop(earlier);
        assert!(presence.close_gate(&mut wait_forever).unwrap().is_some());
    }

    #[test]
    fn holders_of_a_lock_are_counted() {
        let table = "1: FLOCK  ADVISORY  READ 7 fd:01:5678 0 EOF\n2: FLOCK  ADVISORY  READ 8 fd:01:5678 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 fd:01:5678 0 EOF\n3: FLOCK  ADVISORY  READ 8 fd:02:5678 0 EOF\n\
                     4: POSIX  ADVISORY  READ 8 fd:01:5678 0 EOF\n5: FLOCK  ADVISORY  READ 7 fd:01:99 0 EOF\n";
        assert_eq!(count_holders(table, 5678, 7), 2);
        assert_eq!(count_holders(table, 5678, 6), 0, "the device is unknown");
    }
}
