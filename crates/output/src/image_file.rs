//! The file that an image is written to.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use vmroot_sys::open_direct;

/// The file that an image is written to, past the page cache where that can be: an image is a gigabyte that nobody
/// reads soon, and copying it into memory takes longer than writing it.
pub struct ImageFile<'a> {
    file: &'a File,
    direct: Option<File>,
    sparse: bool,
}

impl<'a> ImageFile<'a> {
    /// An empty file, or a device.
    pub fn new(file: &'a File) -> io::Result<Self> {
        let sparse = file.metadata()?.is_file();
        // The descriptor's own name: the file may have none, or another. Without /proc the page cache has to do.
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = if sparse { open_direct(Path::new(&own)).ok().flatten() } else { None };
        Ok(Self { file, direct, sparse })
    }

    /// The same for an image that is small, and read at once.
    pub fn buffered(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, direct: None, sparse: file.metadata()?.is_file() })
    }

    /// Whether what is not written reads as zeros.
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Makes the file `length` bytes long: at once, for a file that grows with every write is written by one thread at
    /// a time.
    pub fn set_length(&self, length: u64) -> io::Result<()> {
        if self.sparse { self.file.set_len(length) } else { Ok(()) }
    }

    /// The size of a device in bytes; nothing for a file, which grows.
    ///
    /// # Errors
    /// What lseek(2) says.
    pub fn device_size(&self) -> io::Result<Option<u64>> {
        let mut file = self.file;
        if self.sparse { Ok(None) } else { file.seek(SeekFrom::End(0)).map(Some) }
    }

    /// Makes it `length` bytes that read as zeros until they are written. A device must have as many.
    ///
    /// # Errors
    /// What ftruncate(2) or fallocate(2) say.
    pub fn blank(&self, length: u64) -> io::Result<()> {
        if self.sparse {
            return self.file.set_len(0).and_then(|()| self.file.set_len(length));
        }
        // Discarding is fast, and refused where it would not leave zeros.
        let zeroed = |way| fallocate(self.file, way | FallocateFlags::KEEP_SIZE, 0, length);
        let zeroed = zeroed(FallocateFlags::PUNCH_HOLE).or_else(|_| zeroed(FallocateFlags::ZERO_RANGE));
        Ok(zeroed?)
    }

    /// The file, for sharing blocks.
    pub fn file(&self) -> &File {
        self.file
    }

    /// Writes whole blocks; past the page cache only from an [`AlignedBuffer`](vmroot_sys::AlignedBuffer).
    pub fn write(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        let Some(direct) = &self.direct else { return self.file.write_all_at(blocks, offset) };
        match direct.write_all_at(blocks, offset) {
            // A file system that opens a file so and then does not do it.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => self.file.write_all_at(blocks, offset),
            result => result,
        }
    }
}
