//! Locks on open files by flock(2). They end with the process that holds them.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{Error, Result};

/// The mode of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Any number of holders.
    Shared,
    /// A single holder.
    Exclusive,
}

/// Takes the lock of a file if it is free in this mode. Returns true if it was taken.
///
/// # Errors
/// The error of flock(2).
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

/// Returns true if `file` is the file that `path` names now.
///
/// # Errors
/// [`Error`]: stat(2) failed for the file or the path.
pub fn is_at(file: &File, path: &Path) -> Result<bool> {
    let held = file.metadata().map_err(Error::on("stat", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error { action: "stat", path: path.to_owned(), source }),
    }
}
