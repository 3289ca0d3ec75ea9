//! Locks of open files, flock(2), which end with the process that holds them.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{Error, Result};

/// Whether others may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Any number may hold it at once.
    Shared,
    /// One alone may hold it.
    Exclusive,
}

/// Takes the lock of a file if it is free in this mode; says whether it did.
///
/// # Errors
/// What flock(2) says.
pub fn try_flock(file: &File, mode: Mode) -> io::Result<bool> {
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
///
/// # Errors
/// [`Error`] where either cannot be looked at.
pub fn is_at(file: &File, path: &Path) -> Result<bool> {
    let held = file.metadata().map_err(Error::on("stat", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error { action: "stat", path: path.to_owned(), source }),
    }
}
