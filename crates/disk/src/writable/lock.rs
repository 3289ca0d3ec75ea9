//! Locks of disks.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};
use vmroot_output::Error as FileError;
use vmroot_output::flock::{self, try_flock};

use super::{Error, Result};

/// The use of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// The disk is read. Others may read it, too.
    Read,
    /// The disk is written.
    Write,
}

/// A disk that this process uses. The lock ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct DiskLock {
    file: File,
}

impl DiskLock {
    /// Returns the file. It is open for writing if the lock is that of a writer.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Opens and locks a disk, for a program that uses it.
///
/// # Errors
/// - [`Error::InUse`]: another process uses it.
/// - [`Error::Io`]: the file cannot be opened or locked.
pub fn lock_disk(path: &Path, mode: LockMode) -> Result<DiskLock> {
    let is_writer = mode == LockMode::Write;
    let opened = File::options().read(true).write(is_writer).open(path);
    let file = opened.map_err(FileError::on("open", path))?;
    let kind = if is_writer { flock::Mode::Exclusive } else { flock::Mode::Shared };
    let is_free = try_flock(&file, kind).map_err(FileError::on("lock", path))?;
    if !is_free || has_other_user(&file).map_err(FileError::on("read", path))? {
        Err(Error::InUse { path: path.to_owned() })
    } else {
        Ok(DiskLock { file })
    }
}

/// Returns whether a program without a lock by flock(2) uses the file, as far as the kernel lists it.
fn has_other_user(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    // In the list, the device of a file on Btrfs is another one than in its metadata, so its locks are not found.
    let identity = format!("{:02x}:{:02x}:{}", major(metadata.dev()), minor(metadata.dev()), metadata.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    // QEMU has the same kind of lock for readers and writers, so each counts.
    let is_record_lock = |line: &&str| ["POSIX", "OFDLCK"].iter().any(|kind| line.contains(kind));
    let is_locked = |line: &str| line.split_whitespace().any(|word| word == identity);
    Ok(locks.lines().filter(is_record_lock).any(is_locked) || is_attached(&metadata))
}

/// Returns whether the file is attached to a loop device.
fn is_attached(own: &Metadata) -> bool {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let loops = devices.filter(|device| device.file_name().to_string_lossy().starts_with("loop"));
    let mut backing = loops.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    let is_own = |path: String| {
        fs::metadata(path.trim_end_matches('\n'))
            .is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()))
    };
    backing.any(is_own)
}
