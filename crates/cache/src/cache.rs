//! A cache directory and its locks.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use vmroot_output::flock::Mode;

use crate::lock::{Lock, LockName, Waiting};
use crate::{Error, Layout, Result};

/// A cache directory. Cheap to clone; any number of threads and processes may have it open.
#[derive(Debug, Clone)]
pub struct Cache {
    layout: Layout,
}

impl Cache {
    /// Opens the cache at `directory`, made with mode 0700 where it is missing.
    ///
    /// # Errors
    /// [`Error::Io`] where a directory of the cache is missing and cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout::new(directory);
        for directory in layout.directories() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(Error::io("make the directory", &directory))?;
        }
        Ok(Self { layout })
    }

    /// Where everything is.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes a lock, and waits for it where another holds it.
    ///
    /// # Errors
    /// [`Error::GaveUp`] if `waiting` breaks off, [`Error::Io`] where the lock file cannot be made or locked.
    pub fn lock(&self, name: &LockName, mode: Mode, waiting: Waiting<'_>) -> Result<Lock> {
        Lock::wait(&self.layout.lock(name), mode, waiting)
    }

    /// Takes a lock if it is free; `None` where another holds it.
    ///
    /// # Errors
    /// [`Error::Io`] where the lock file cannot be made or locked.
    pub fn try_lock(&self, name: &LockName, mode: Mode) -> Result<Option<Lock>> {
        Lock::attempt(&self.layout.lock(name), mode)
    }
}

/// The names in a directory, sorted. Names that are not UTF-8 are none of the cache's and left out.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(Error::io("list", directory))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file; says whether it was there.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { action: "remove", path: path.to_owned(), source }),
    }
}

/// The length of a file in bytes; `None` where it is missing.
pub(crate) fn file_length(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { action: "stat", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn makes_its_directories_for_the_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/cache");
        let cache = Cache::open(&root).unwrap();
        Cache::open(&root).unwrap();
        for directory in cache.layout().directories().iter().map(PathBuf::as_path).chain([root.as_path()]) {
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o7777, 0o700, "{directory:?}");
        }
    }

    #[test]
    fn says_which_directory_cannot_be_made() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
