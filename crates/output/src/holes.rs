//! The data and the holes of a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// A file with holes, on this machine or elsewhere.
pub trait SparseRead {
    /// Returns the first run of data in `range`, or `None` if all of it is a hole.
    ///
    /// # Errors
    /// - `UnexpectedEof`: the range exceeds the end of the file, and has no data.
    /// - The error of the file.
    fn next_data(&mut self, range: Range<u64>) -> io::Result<Option<Range<u64>>>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// - `UnexpectedEof`: the range exceeds the end of the file.
    /// - The error of the file.
    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl SparseRead for Holes<'_> {
    fn next_data(&mut self, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
        Holes::next_data(self, range)
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self.file, buffer, offset)
    }
}

/// Finds the data of a file by `SEEK_DATA` and `SEEK_HOLE`, and caches the last result.
///
/// Ascending queries cost two system calls for each run of data: a `.contents` file may hold thousands of files between
/// two holes.
#[derive(Debug)]
pub struct Holes<'a> {
    file: &'a File,
    /// The range from here to the start of `data` is a hole.
    hole: u64,
    data: Range<u64>,
}

impl<'a> Holes<'a> {
    /// Creates a finder for `file`. No system call is made yet.
    pub fn new(file: &'a File) -> Self {
        Self { file, hole: 0, data: 0..0 }
    }

    /// Returns the file.
    pub fn file(&self) -> &'a File {
        self.file
    }

    /// Returns the first run of data in `range`, or `None` if all of it is a hole.
    ///
    /// # Errors
    /// - `UnexpectedEof`: the range exceeds the end of the file, and has no data.
    /// - The error of lseek(2).
    pub fn next_data(&mut self, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
        if !(self.hole..self.data.end).contains(&range.start) {
            self.seek(range.start)?;
        }
        if self.data.is_empty() && range.end > self.data.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let data = self.data.start.max(range.start)..self.data.end.min(range.end);
        Ok((!data.is_empty()).then_some(data))
    }

    fn seek(&mut self, from: u64) -> io::Result<()> {
        self.hole = from;
        self.data = match seek(self.file, SeekFrom::Data(from)) {
            Ok(data) => data..seek(self.file, SeekFrom::Hole(data))?,
            // The rest of the file is a hole.
            Err(Errno::NXIO) => self.file.metadata().map(|metadata| metadata.len()..metadata.len())?,
            // The file system does not report holes, so everything is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => from..u64::MAX,
            Err(errno) => return Err(errno.into()),
        };
        Ok(())
    }
}

/// The [`Holes`] of the contents file that was read last.
#[derive(Debug, Default)]
pub struct LastHoles<'a> {
    last: Option<(u32, Holes<'a>)>,
}

impl<'a> LastHoles<'a> {
    /// Returns the holes of `file`, the contents file with this number.
    pub fn of(&mut self, number: u32, file: &'a File) -> &mut Holes<'a> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != number) {
            self.last = None;
        }
        &mut self.last.get_or_insert_with(|| (number, Holes::new(file))).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_data_between_holes() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 0).unwrap();
        file.write_all_at(&[1; 4096], 512 << 10).unwrap();
        let mut holes = Holes::new(&file);
        assert_eq!(holes.next_data(0..100).unwrap(), Some(0..100));
        assert_eq!(holes.next_data(100..1 << 20).unwrap(), Some(100..4096));
        assert_eq!(holes.next_data(4096..8192).unwrap(), None);
        assert_eq!(holes.next_data(4096..1 << 20).unwrap(), Some(512 << 10..(512 << 10) + 4096));
        assert_eq!(holes.next_data(1 << 19..1 << 20).unwrap(), Some(512 << 10..(512 << 10) + 4096));
        assert_eq!(holes.next_data((512 << 10) + 4096..1 << 20).unwrap(), None);
        let beyond = holes.next_data(600 << 10..(1 << 20) + 1).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        // Backwards.
        assert_eq!(holes.next_data(10..20).unwrap(), Some(10..20));
    }
}
