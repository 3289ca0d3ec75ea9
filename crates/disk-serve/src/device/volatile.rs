//! Reads into guest memory.

use std::fs::File;
use std::io;

use fuse_backend_rs::file_buf::FileVolatileSlice;
use fuse_backend_rs::file_traits::FileReadWriteVolatile;
use vm_memory::VolatileSlice;

/// The most buffers that preadv(2) takes (`UIO_MAXIOV`).
const MAX_BUFFERS: usize = 1024;

/// A position in slices of guest memory.
pub(super) struct Cursor<'s, 'm> {
    slices: &'s [VolatileSlice<'m>],
    /// The bytes of the first slice that are filled.
    filled: usize,
}

impl<'s, 'm> Cursor<'s, 'm> {
    pub(super) fn new(slices: &'s [VolatileSlice<'m>]) -> Self {
        let mut cursor = Self { slices, filled: 0 };
        cursor.advance(0);
        cursor
    }

    /// Returns whether all slices are filled.
    pub(super) fn is_done(&self) -> bool {
        self.slices.is_empty()
    }

    /// Reads at most `limit` bytes of a file from `offset` on. Returns their number, at least 1.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends at `offset`; otherwise the error of preadv(2).
    pub(super) fn read_some(&mut self, file: &mut File, offset: u64, limit: u64) -> io::Result<usize> {
        let buffers = self.buffers(limit)?;
        loop {
            match file.read_vectored_at_volatile(&buffers, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.advance(count);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the next buffers, with at most `limit` bytes.
    fn buffers(&self, limit: u64) -> io::Result<Vec<FileVolatileSlice<'m>>> {
        let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut buffers = Vec::with_capacity(self.slices.len().min(MAX_BUFFERS));
        let mut filled = self.filled;
        for slice in self.slices.iter().take(MAX_BUFFERS) {
            let count = (slice.len() - filled).min(left);
            let part = slice.subslice(filled, count).map_err(io::Error::other)?;
            buffers.push(FileVolatileSlice::from_volatile_slice(&part));
            (filled, left) = (0, left - count);
            if left == 0 {
                break;
            }
        }
        Ok(buffers)
    }

    fn advance(&mut self, count: usize) {
        self.filled += count;
        while let Some((first, rest)) = self.slices.split_first()
            && self.filled >= first.len()
        {
            self.filled -= first.len();
            self.slices = rest;
        }
    }
}
