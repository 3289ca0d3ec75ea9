//! Writes that bypass the page cache (open(2), `O_DIRECT`).
//!
//! A pull writes more than it reads, and its data must be on the disk before it counts. The page cache would copy each
//! byte once more, allocate memory for it, and evict pages that running guests use. Direct I/O writes the bytes from
//! the caller's buffer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The alignment of addresses, offsets and lengths for direct I/O, in bytes. No disk requires more.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// Opens an existing file for direct writes. Returns `None` if its file system does not support them.
///
/// # Errors
/// The errors of open(2), except `EINVAL`, which means that direct I/O is not supported.
pub fn open_direct(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A buffer of fixed capacity whose memory is aligned for direct I/O.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    /// Index of the first aligned byte of `memory`.
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// Creates an empty buffer with room for `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let memory = vec![0; capacity + DIRECT_ALIGNMENT];
        let start = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
        Self { memory, start, length: 0 }
    }

    /// Returns the capacity in bytes.
    pub fn capacity(&self) -> usize {
        self.memory.len() - DIRECT_ALIGNMENT
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the bytes of the buffer. Their address is aligned.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// Appends as many bytes as fit. Returns the rest.
    pub fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(self.capacity() - self.length));
        let end = self.start + self.length;
        self.memory[end..end + taken.len()].copy_from_slice(taken);
        self.length += taken.len();
        rest
    }

    /// Sets the length and returns the bytes for writing. Their values are unspecified. Reallocates the buffer if
    /// `length` exceeds its capacity.
    pub fn resize(&mut self, length: usize) -> &mut [u8] {
        if length > self.capacity() {
            *self = Self::new(length);
        }
        self.length = length;
        &mut self.memory[self.start..self.start + length]
    }

    /// Removes the first `count` bytes and moves the rest to the front.
    pub fn remove(&mut self, count: usize) {
        self.memory.copy_within(self.start + count..self.start + self.length, self.start);
        self.length -= count;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn filled_bytes_are_at_an_aligned_address() {
        let mut buffer = AlignedBuffer::new(10_000);
        assert_eq!(buffer.fill(&[1; 9000]), &[] as &[u8]);
        assert_eq!(buffer.fill(&[2; 3000]), &[2; 2000]);
        assert_eq!((buffer.len(), buffer.capacity()), (10_000, 10_000));
        buffer.remove(8999);
        assert_eq!(buffer.as_slice()[..2], [1, 2]);
        assert_eq!(buffer.as_slice().as_ptr().align_offset(DIRECT_ALIGNMENT), 0);
        buffer.remove(1001);
        assert!(buffer.is_empty());
    }

    #[test]
    fn growing_keeps_the_alignment() {
        let mut buffer = AlignedBuffer::new(100);
        buffer.resize(50).fill(3);
        assert_eq!(buffer.as_slice(), [3; 50]);
        buffer.resize(20_000).fill(4);
        assert_eq!((buffer.len(), buffer.as_slice()[19_999]), (20_000, 4));
        assert_eq!(buffer.as_slice().as_ptr().align_offset(DIRECT_ALIGNMENT), 0);
    }

    #[test]
    fn direct_writes_are_visible_to_readers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Some(direct) = open_direct(file.path()).unwrap() else { return };
        let mut buffer = AlignedBuffer::new(2 * DIRECT_ALIGNMENT);
        buffer.fill(&[7; 2 * DIRECT_ALIGNMENT]);
        direct.write_all_at(buffer.as_slice(), DIRECT_ALIGNMENT as u64).unwrap();
        let read = std::fs::read(file.path()).unwrap();
        assert_eq!(read[..DIRECT_ALIGNMENT], [0; DIRECT_ALIGNMENT]);
        assert_eq!(read[DIRECT_ALIGNMENT..], *buffer.as_slice());
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert_eq!(open_direct("/nonexistent".as_ref()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
