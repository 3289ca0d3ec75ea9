//! Writing past the page cache (open(2), `O_DIRECT`).
//!
//! A pull writes more than it reads, and what it writes must be on the disk before it counts. Through the page cache each
//! byte is copied once more, into memory that has to be found for it first, and pushes out of that memory what running
//! guests use. Direct I/O takes the bytes from where they are.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What addresses, offsets and lengths of direct I/O are multiples of here, in bytes: no less than any disk asks for.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// Opens an existing file for direct writing; nothing where its file system cannot do that.
///
/// # Errors
/// What open(2) says, except that it knows no direct I/O.
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
    /// Where the first aligned byte of `memory` is.
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// An empty buffer for `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let memory = vec![0; capacity + DIRECT_ALIGNMENT];
        let start = memory.as_ptr().align_offset(DIRECT_ALIGNMENT);
        Self { memory, start, length: 0 }
    }

    /// How many bytes fit.
    pub fn capacity(&self) -> usize {
        self.memory.len() - DIRECT_ALIGNMENT
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes in it, the first at an aligned address.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// Takes as many bytes as fit; gives the rest back.
    pub fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(self.capacity() - self.length));
        let end = self.start + self.length;
        self.memory[end..end + taken.len()].copy_from_slice(taken);
        self.length += taken.len();
        rest
    }

    /// Makes it `length` bytes long, more than its capacity if need be, and gives them for writing; what they are until
    /// then is unspecified.
    pub fn resize(&mut self, length: usize) -> &mut [u8] {
        if length > self.capacity() {
            *self = Self::new(length);
        }
        self.length = length;
        &mut self.memory[self.start..self.start + length]
    }

    /// Removes the first `count` bytes, and moves what follows to the front.
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
    fn what_is_put_in_comes_out_at_an_aligned_address() {
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
    fn it_grows_and_stays_aligned() {
        let mut buffer = AlignedBuffer::new(100);
        buffer.resize(50).fill(3);
        assert_eq!(buffer.as_slice(), [3; 50]);
        buffer.resize(20_000).fill(4);
        assert_eq!((buffer.len(), buffer.as_slice()[19_999]), (20_000, 4));
        assert_eq!(buffer.as_slice().as_ptr().align_offset(DIRECT_ALIGNMENT), 0);
    }

    #[test]
    fn direct_writes_are_seen_by_readers() {
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
