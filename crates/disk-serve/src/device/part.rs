//! A file that is a part of a disk.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, SeekFrom, fadvise, seek};
use rustix::io::Errno;

use crate::Extent;

/// The most idle duplicates of a file's descriptor.
const MAX_IDLE: usize = 2;

/// A whole file, at its place on the disk.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    /// The first byte on the disk.
    pub(super) start: u64,
    pub(super) length: u64,
    /// Duplicates of the file. The function that reads into guest memory needs a file of its own, although it reads at
    /// offsets, so each reader takes one.
    idle: Mutex<Vec<File>>,
}

impl Part {
    pub(super) fn new(file: File, start: u64, length: u64) -> Self {
        Self { file, start, length, idle: Mutex::default() }
    }

    /// Calls `read` with a duplicate of the file.
    pub(super) fn with_own_file<T>(&self, read: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let taken = lock(&self.idle).pop();
        let mut file = taken.map_or_else(|| self.file.try_clone(), Ok)?;
        let result = read(&mut file);
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_IDLE {
            idle.push(file);
        }
        result
    }

    /// Starts reading bytes into the page cache.
    pub(super) fn read_ahead(&self, offset: u64, length: u64) {
        // An error only means that a later read waits longer.
        let _ = fadvise(&self.file, offset, NonZeroU64::new(length), Advice::WillNeed);
    }

    /// Returns the bytes from `offset` to the next border between data and a hole, or to the end.
    pub(super) fn extent_at(&self, offset: u64) -> io::Result<Extent> {
        // Only the result of a seek is used, so threads that move the position at the same time do no harm.
        let data = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => data.min(self.length),
            // All bytes from `offset` on are a hole.
            Err(Errno::NXIO) => self.length,
            // The file system does not know its holes.
            Err(Errno::INVAL) => offset,
            Err(error) => return Err(error.into()),
        };
        if data > offset {
            return Ok(Extent { length: data - offset, is_hole: true });
        }
        let hole = seek(&self.file, SeekFrom::Hole(offset)).map_or(self.length, |hole| hole.min(self.length));
        Ok(Extent { length: hole.max(offset + 1) - offset, is_hole: false })
    }
}

fn lock(idle: &Mutex<Vec<File>>) -> MutexGuard<'_, Vec<File>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
