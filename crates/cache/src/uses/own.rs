//! The file of a user of the cache: its own process.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use vmroot_output::flock::{Mode, is_at, try_flock};

use super::{EVERYTHING, Line, Needs, PROCESS, Process, Use, User, now};
use crate::cache::{Cache, remove_file};
use crate::lock::Lock;
use crate::{Error, Result};

/// The length of a file from which the lines of released holds are removed, if they are most of it.
const COMPACTED_FROM: u64 = 1 << 20;

/// The state of a line, which is its first byte.
const HELD: u8 = b'+';
const RELEASED: u8 = b'-';

/// A user of a cache: the files that threads of this process need.
///
/// Clones are the same user. Its file is removed with the last clone and the last [`Hold`].
#[derive(Debug, Clone)]
pub struct Uses {
    cache: Cache,
    /// `None` for a user that may not write to the cache, and so cannot keep its files.
    state: Option<Arc<Mutex<State>>>,
}

#[derive(Debug)]
struct State {
    /// The shared lock of the cache, which keeps earlier versions from removing files. It ends before the file.
    _cache: Lock,
    file: UseFile,
    purpose: String,
    since: u64,
    holds: BTreeMap<u64, Held>,
    next: u64,
    /// The sum of the lengths of the lines of the holds.
    held_bytes: u64,
    /// The needs could not be written, so the file says that all files are needed.
    everything: bool,
}

#[derive(Debug)]
struct Held {
    needs: Needs,
    /// The position and length of the line in the file, if it was written.
    line: Option<(u64, u64)>,
}

/// A locked file. It is removed when this is dropped.
#[derive(Debug)]
struct UseFile {
    path: PathBuf,
    file: File,
    /// The length of the first line.
    header: u64,
    length: u64,
}

/// Keeps files of a cache until it is dropped or released.
#[derive(Debug)]
#[must_use = "the files are released as soon as this is dropped"]
pub struct Hold {
    uses: Uses,
    number: u64,
}

impl Uses {
    /// Makes the file of a new user. `purpose` is what it does, as other users see it.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the file cannot be made or locked. A full disk is no error.
    pub(crate) fn new(cache: &Cache, purpose: &str, cache_lock: Lock) -> Result<Self> {
        let since = now();
        let file = {
            let _lock = cache.lock_uses(Mode::Shared)?;
            UseFile::create(&cache.layout().uses(), purpose, since)?
        };
        let state = State {
            _cache: cache_lock,
            file,
            purpose: purpose.to_owned(),
            since,
            holds: BTreeMap::new(),
            next: 0,
            held_bytes: 0,
            everything: false,
        };
        Ok(Self { cache: cache.clone(), state: Some(Arc::new(Mutex::new(state))) })
    }

    /// Returns a user that may not write to the cache. Its holds keep nothing.
    pub(crate) fn of_reader(cache: &Cache) -> Self {
        Self { cache: cache.clone(), state: None }
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        self.state.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Holds files. Those that exist after the call stay until they are released.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the needs cannot be written. If the disk is full, all files of the cache are
    ///   held instead.
    pub fn hold(&self, needs: Needs) -> Result<Hold> {
        self.hold_with(|| Ok::<_, Error>((needs, ()))).map(|(hold, ())| hold)
    }

    /// Finds out which files are needed, and holds them. No file is removed in between. `find` must not wait for a lock.
    ///
    /// # Errors
    /// As [`Self::hold`], and the errors of `find`.
    pub fn hold_with<T, E: From<Error>>(
        &self,
        find: impl FnOnce() -> std::result::Result<(Needs, T), E>,
    ) -> std::result::Result<(Hold, T), E> {
        let lock = self.state.is_some().then(|| self.cache.lock_uses(Mode::Shared)).transpose()?;
        let (needs, found) = find()?;
        let number = match (self.state(), &lock) {
            (Some(mut state), Some(lock)) => state.add(needs, lock)?,
            _ => 0,
        };
        Ok((Hold { uses: self.clone(), number }, found))
    }

    /// Returns what this user needs. Returns `None` for a user that may not write to the cache.
    pub(super) fn own_use(&self) -> Option<Use> {
        let state = self.state()?;
        let mut needs = Needs::default();
        state.holds.values().for_each(|held| needs.extend(&held.needs));
        let user = User::Process { pid: process::id(), purpose: state.purpose.clone() };
        let since = UNIX_EPOCH + Duration::from_secs(state.since);
        Some(Use { user, since, needs, everything: false, is_own: true })
    }

    /// Returns whether a file of the directory belongs to this user.
    pub(super) fn is_own_file(&self, name: &str) -> bool {
        self.state().is_some_and(|state| state.file.path.file_name().is_some_and(|own| own == name))
    }
}

impl State {
    /// Adds a hold. The shared lock of the uses proves that no collection is deciding.
    fn add(&mut self, needs: Needs, _lock: &Lock) -> Result<u64> {
        self.compact();
        let line = if self.everything { None } else { self.write(&needs)? };
        self.held_bytes += line.map_or(0, |(_, length)| length);
        let number = self.next;
        self.next += 1;
        self.holds.insert(number, Held { needs, line });
        Ok(number)
    }

    /// Writes a line. If the disk is full, the file gets a name that stands for all files.
    fn write(&mut self, needs: &Needs) -> Result<Option<(u64, u64)>> {
        match self.file.append(&line_of(needs)) {
            Ok(line) => Ok(Some(line)),
            Err(error) if error.is_full_disk() => {
                self.file.rename(EVERYTHING)?;
                self.everything = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces a large file of which most lines are released. The old one stays if that fails.
    fn compact(&mut self) {
        let is_sparse = self.file.length >= COMPACTED_FROM && self.held_bytes < self.file.length / 2;
        if self.everything || !is_sparse {
            return;
        }
        let directory = self.file.path.parent().unwrap_or(Path::new("")).to_owned();
        let Ok(mut file) = UseFile::create(&directory, &self.purpose, self.since) else { return };
        let mut lines = Vec::with_capacity(self.holds.len());
        for held in self.holds.values() {
            let Ok(line) = file.append(&line_of(&held.needs)) else { return };
            lines.push(line);
        }
        for (held, line) in self.holds.values_mut().zip(lines) {
            held.line = Some(line);
        }
        self.file = file;
    }

    fn release(&mut self, number: u64) {
        let Some(held) = self.holds.remove(&number) else { return };
        self.held_bytes -= held.line.map_or(0, |(_, length)| length);
        // Errors are ignored: the files are kept until the process ends.
        if self.holds.is_empty() {
            let _ = self.file.clear();
            if self.everything {
                self.everything = self.file.rename(PROCESS).is_err();
            }
        } else if let Some((at, _)) = held.line {
            let _ = self.file.file.write_all_at(&[RELEASED], at);
        }
    }
}

impl UseFile {
    fn create(directory: &Path, purpose: &str, since: u64) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let pid = process::id();
        let mut made = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{pid}-{number}.{PROCESS}"));
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = match opened {
                // The file of an earlier process with this id, or of one in another PID namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(vmroot_output::Error::on("make", &path))?,
            };
            // Another process may have taken it for that of a killed one.
            if try_flock(&file, Mode::Exclusive).map_err(vmroot_output::Error::on("lock", &path))?
                && is_at(&file, &path)?
            {
                break Self { path, file, header: 0, length: 0 };
            }
            remove_file(&path)?;
        };
        let process = Some(Process { pid, since, purpose: purpose.to_owned() });
        match made.append(&line(&Line { process, needs: None })) {
            // The name of the file has the id of the process.
            Err(error) if !error.is_full_disk() => return Err(error),
            _ => made.header = made.length,
        }
        Ok(made)
    }

    /// Appends a line, and returns its position and length. A line that cannot be written completely is removed.
    fn append(&mut self, line: &[u8]) -> Result<(u64, u64)> {
        let at = self.length;
        if let Err(source) = self.file.write_all_at(line, at) {
            let _ = self.file.set_len(at);
            return Err(vmroot_output::Error { action: "write", path: self.path.clone(), source }.into());
        }
        self.length += line.len() as u64;
        Ok((at, line.len() as u64))
    }

    /// Removes all lines but the first.
    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(self.header)?;
        self.length = self.header;
        Ok(())
    }

    fn rename(&mut self, extension: &str) -> Result<()> {
        let path = self.path.with_extension(extension);
        fs::rename(&self.path, &path).map_err(vmroot_output::Error::on("rename to", &path))?;
        self.path = path;
        Ok(())
    }
}

impl Drop for UseFile {
    fn drop(&mut self) {
        // A file that cannot be removed now is swept later: its lock ends here.
        let _ = fs::remove_file(&self.path);
    }
}

impl Hold {
    /// Releases the files.
    pub fn release(&self) {
        if let Some(mut state) = self.uses.state() {
            state.release(self.number);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}

fn line_of(needs: &Needs) -> Vec<u8> {
    line(&Line { process: None, needs: Some(needs.clone()) })
}

fn line(line: &Line) -> Vec<u8> {
    let mut bytes = vec![HELD];
    serde_json::to_writer(&mut bytes, line).expect("a line has no keys but strings");
    bytes.push(b'\n');
    bytes
}
