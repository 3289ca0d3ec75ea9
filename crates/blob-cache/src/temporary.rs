//! Directories that are of use for a while.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::TEMPORARY_PREFIX;
use crate::lock::{Mode, is_at, try_flock};
use crate::{Error, Result};

/// A directory that is removed, with all that is in it, when this is dropped; [`Cache::sweep`](crate::Cache::sweep)
/// removes those of processes that were killed.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    /// Its lock tells that it is in use.
    _locked: File,
}

impl TemporaryDirectory {
    /// Makes a directory with mode 0700 in `parent`: a cache, or any other directory.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be made or locked.
    pub fn create_in(parent: &Path) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("{TEMPORARY_PREFIX}-dir-{}-{number}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // A process with the same id left it, or has it: in another container that shares the cache.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(Error::Io { action: "make the directory", path, source }),
            }
            let opened = match File::open(&path) {
                Ok(opened) => opened,
                // A sweep came before the lock.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error::Io { action: "open", path, source }),
            };
            // Shared, for some network file systems want a file that is open for writing for the other mode.
            if try_flock(&opened, Mode::Shared).map_err(Error::io("lock", &path))? && is_at(&opened, &path)? {
                return Ok(Self { path, _locked: opened });
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&self.path);
    }
}
