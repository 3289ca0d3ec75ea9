//! The file or device that growth reads and writes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use vmroot_output::{Holes, ImageFile};

/// Reads and writes at offsets. Tests have one that fails after some writes.
pub(in crate::grow) trait Device {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes that follow do not reach the disk before those that precede.
    fn sync(&mut self) -> io::Result<()>;
    /// Returns the number of bytes, and whether the device can be extended, by zeros.
    fn length(&self) -> io::Result<(u64, bool)>;
    /// Extends a regular file.
    fn extend(&mut self, length: u64) -> io::Result<()>;
    /// Returns the first run of bytes from `start` to `end` that is not a hole.
    fn next_data(&self, start: u64, end: u64) -> io::Result<Option<(u64, u64)>>;
}

impl Device for &File {
    fn read(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<(u64, bool)> {
        match ImageFile::buffered(self)?.device_size()? {
            Some(size) => Ok((size, false)),
            None => Ok((self.metadata()?.len(), true)),
        }
    }

    fn extend(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn next_data(&self, start: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
        let found = Holes::new(self).next_data(start..end)?;
        Ok(found.map(|range| (range.start, range.end)))
    }
}
