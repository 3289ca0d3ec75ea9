//! Removes files that killed processes left.

use std::fs;
use std::path::{Path, PathBuf};

use vmroot_output::TEMPORARY_PREFIX;

use crate::cache::{Cache, file_length, names};
use crate::lock::{lock_abandoned, unlink_unless_locked};
use crate::{Lock, LockName, Mode, Result};

/// The files and directories that a sweep removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// The number of temporary and partial files, including those in temporary directories.
    pub files: u64,
    /// The number of temporary directories.
    pub directories: u64,
    /// The sum of the lengths of the files, in bytes.
    pub bytes: u64,
    /// The temporary and partial files, and the temporary directories.
    pub paths: Vec<PathBuf>,
}

/// The action on an abandoned file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Remove,
    List,
}

impl Cache {
    /// Removes temporary files that have no writer, unlocked temporary directories of the cache (see
    /// [`TemporaryDirectory`](vmroot_output::TemporaryDirectory)), and lock files that are not held.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a directory cannot be listed, or a file cannot be removed.
    pub fn sweep(&self) -> Result<SweepReport> {
        let swept = self.visit_abandoned(Action::Remove)?;
        self.sweep_locks()?;
        Ok(swept)
    }

    /// Removes lock files that are not held. Those of blobs, layers and roots stay after each pull.
    pub(crate) fn sweep_locks(&self) -> Result<()> {
        let locks = self.layout().locks();
        for name in names(&locks)?.iter().filter(|name| is_lock_of_a_file(name)) {
            unlink_unless_locked(&locks.join(name))?;
        }
        Ok(())
    }

    /// Returns the temporary files and directories that [`Self::sweep`] would remove now.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a directory cannot be listed.
    pub fn list_abandoned(&self) -> Result<SweepReport> {
        self.visit_abandoned(Action::List)
    }

    fn visit_abandoned(&self, action: Action) -> Result<SweepReport> {
        let mut swept = SweepReport::default();
        for directory in self.layout().directories() {
            for name in names(&directory)?.iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)) {
                swept.visit_file(&directory.join(name), action)?;
            }
        }
        for name in names(self.layout().root())?.iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)) {
            let path = self.layout().root().join(name);
            if path.is_dir() { swept.visit_directory(&path, action) } else { swept.visit_file(&path, action) }?;
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
                swept.visit_file(&self.layout().partial(&blob.digest), Action::Remove)?;
            }
        }
        Ok(swept)
    }
}

/// Returns whether a lock file belongs to a blob, layer or root. The others are few, and that of the records has a mark.
fn is_lock_of_a_file(name: &str) -> bool {
    name.ends_with(".lock") && ["blob-", "layer-", "root-"].iter().any(|prefix| name.starts_with(prefix))
}

impl SweepReport {
    /// Adds a directory and its files, unless it is locked.
    fn visit_directory(&mut self, path: &Path, action: Action) -> Result<()> {
        let Some(_lock) = lock_abandoned(path)? else { return Ok(()) };
        for name in names(path)? {
            self.files += 1;
            self.bytes += file_length(&path.join(name))?.unwrap_or(0);
        }
        self.directories += 1;
        self.paths.push(path.to_owned());
        if action == Action::Remove {
            fs::remove_dir_all(path).map_err(vmroot_output::Error::on("remove", path))?;
        }
        Ok(())
    }

    /// Adds a file, unless it is locked.
    fn visit_file(&mut self, path: &Path, action: Action) -> Result<()> {
        let len = file_length(path)?.unwrap_or(0);
        let is_abandoned = match action {
            Action::Remove => unlink_unless_locked(path)?,
            Action::List => lock_abandoned(path)?.is_some(),
        };
        if is_abandoned {
            self.files += 1;
            self.bytes += len;
            self.paths.push(path.to_owned());
        }
        Ok(())
    }
}
