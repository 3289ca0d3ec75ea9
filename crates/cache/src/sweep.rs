//! Removes files that killed processes left.

use std::fs;
use std::path::Path;

use vmroot_output::TEMPORARY_PREFIX;

use crate::cache::{Cache, file_length, names};
use crate::lock::{lock_abandoned, unlink_unless_locked};
use crate::{Lock, LockName, Mode, Result};

/// Counts of the files that a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// The number of temporary and partial files.
    pub files: u64,
    /// The sum of their lengths in bytes.
    pub bytes: u64,
}

impl Cache {
    /// Removes temporary files that have no writer, unlocked temporary directories of the cache (see
    /// [`TemporaryDirectory`](vmroot_output::TemporaryDirectory)), and lock files that are not held.
    ///
    /// The caller must hold [`LockName::Cache`] exclusively: on a file system without locks, temporary files in use
    /// appear unlocked.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a directory cannot be listed, or a file cannot be removed.
    pub fn sweep(&self) -> Result<SweepReport> {
        let mut swept = SweepReport::default();
        for directory in self.layout().directories() {
            for name in names(&directory)? {
                let path = directory.join(&name);
                if name.starts_with(TEMPORARY_PREFIX) {
                    swept.remove(&path)?;
                }
            }
        }
        for name in names(self.layout().root())?.iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)) {
            let path = self.layout().root().join(name);
            if path.is_dir() {
                swept.remove_directory(&path)?;
            }
        }
        let locks = self.layout().locks();
        for name in names(&locks)?.iter().filter(|name| name.ends_with(".lock")) {
            unlink_unless_locked(&locks.join(name))?;
        }
        Ok(swept)
    }

    /// Removes partial blobs that are not being fetched. They can no longer be resumed.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a directory cannot be listed, or a file cannot be removed.
    pub fn sweep_partials(&self) -> Result<SweepReport> {
        let mut swept = SweepReport::default();
        for blob in self.blobs()?.iter().filter(|blob| blob.is_partial) {
            let name = LockName::Blob(blob.digest);
            let lock: Option<Lock> = self.try_lock(&name, Mode::Exclusive)?;
            if lock.is_some() {
                swept.remove(&self.layout().partial(&blob.digest))?;
            }
        }
        Ok(swept)
    }
}

impl SweepReport {
    /// Removes a directory and its files, unless it is locked.
    fn remove_directory(&mut self, path: &Path) -> Result<()> {
        let Some(_lock) = lock_abandoned(path)? else { return Ok(()) };
        for name in names(path)? {
            self.files += 1;
            self.bytes += file_length(&path.join(name))?.unwrap_or(0);
        }
        Ok(fs::remove_dir_all(path).map_err(vmroot_output::Error::on("remove", path))?)
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let len = file_length(path)?.unwrap_or(0);
        if unlink_unless_locked(path)? {
            self.files += 1;
            self.bytes += len;
        }
        Ok(())
    }
}
