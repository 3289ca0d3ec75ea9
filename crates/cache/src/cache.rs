//! A cache directory and its locks.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use vmroot_output::flock::Mode;

use crate::lock::{Lock, LockName, WaitHook};
use crate::{Layout, Result};

/// A cache directory. Cheap to clone. Any number of threads and processes may use the same directory.
#[derive(Debug, Clone)]
pub struct Cache {
    layout: Layout,
}

impl Cache {
    /// Opens the cache at `directory`, and creates it with mode 0700 if it is missing.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): a directory of the cache is missing and cannot be created.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let layout = Layout::new(directory);
        for directory in layout.directories() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
            made.map_err(vmroot_output::Error::on("make the directory", &directory))?;
        }
        Ok(Self { layout })
    }

    /// Returns the paths of the files in the cache.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes a lock, and waits while another process or thread holds it.
    ///
    /// # Errors
    /// - [`Error::Cancelled`](crate::Error::Cancelled): `on_wait` returned `Break`.
    /// - [`Error::Io`](crate::Error::Io): the lock file cannot be created or locked.
    pub fn lock(&self, name: &LockName, mode: Mode, on_wait: WaitHook<'_>) -> Result<Lock> {
        let path = self.layout.lock(name);
        match name {
            // A collection holds them for a moment at a time, again and again.
            LockName::Gate | LockName::Uses => Lock::wait_shortly(&path, mode, on_wait),
            _ => Lock::wait(&path, mode, on_wait),
        }
    }

    /// Takes a lock if it is free. Returns `None` if another process or thread holds it.
    ///
    /// # Errors
    /// - [`Error::Io`](crate::Error::Io): the lock file cannot be created or locked.
    pub fn try_lock(&self, name: &LockName, mode: Mode) -> Result<Option<Lock>> {
        Lock::attempt(&self.layout.lock(name), mode)
    }
}

/// Returns the names in a directory, sorted. Names that are not UTF-8 are left out: the cache has none.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(vmroot_output::Error::on("list", directory))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(vmroot_output::Error::on("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file. Returns true if it existed.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(vmroot_output::Error { action: "remove", path: path.to_owned(), source }.into()),
    }
}

/// Returns the length of a file in bytes, or `None` if it does not exist.
pub(crate) fn file_length(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(vmroot_output::Error { action: "stat", path: path.to_owned(), source }.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn open_creates_private_directories() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/cache");
        let cache = Cache::open(&root).unwrap();
        Cache::open(&root).unwrap();
        for directory in cache.layout().directories().iter().map(PathBuf::as_path).chain([root.as_path()]) {
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o7777, 0o700, "{directory:?}");
        }
    }

    #[test]
    fn open_error_names_the_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
