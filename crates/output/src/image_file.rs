//! The output file of a disk image.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use vmroot_sys::open_direct;

/// The output file of a disk image, written by direct I/O where possible.
///
/// An image may have gigabytes and is not read soon. Copying it into the page cache takes longer than writing it.
#[derive(Debug)]
pub struct ImageFile<'a> {
    file: &'a File,
    direct: Option<File>,
    sparse: bool,
}

impl<'a> ImageFile<'a> {
    /// Writes to an empty file or a device.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub fn new(file: &'a File) -> io::Result<Self> {
        let sparse = file.metadata()?.is_file();
        // The descriptor's path in procfs, because the file may have no name or a different one. Without procfs the
        // page cache is used.
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = if sparse { open_direct(Path::new(&own)).ok().flatten() } else { None };
        Ok(Self { file, direct, sparse })
    }

    /// Writes through the page cache. For small images that are read at once.
    ///
    /// # Errors
    /// The error of fstat(2).
    pub fn buffered(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, direct: None, sparse: file.metadata()?.is_file() })
    }

    /// Returns true if bytes that are not written read as zeros.
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Sets the length of a regular file in bytes. Call it before writing: while a file grows, the kernel serialises
    /// its writers.
    ///
    /// # Errors
    /// The error of ftruncate(2).
    pub fn set_length(&self, length: u64) -> io::Result<()> {
        if self.sparse { self.file.set_len(length) } else { Ok(()) }
    }

    /// Returns the size of a device in bytes, or `None` for a regular file, which grows.
    ///
    /// # Errors
    /// The error of lseek(2).
    pub fn device_size(&self) -> io::Result<Option<u64>> {
        let mut file = self.file;
        if self.sparse { Ok(None) } else { file.seek(SeekFrom::End(0)).map(Some) }
    }

    /// Makes the first `length` bytes read as zeros. A regular file is set to this length. A device must have at least
    /// this size.
    ///
    /// # Errors
    /// The error of ftruncate(2) or fallocate(2).
    pub fn blank(&self, length: u64) -> io::Result<()> {
        if self.sparse {
            return self.file.set_len(0).and_then(|()| self.file.set_len(length));
        }
        // Discarding is fast. The kernel refuses it where it would not leave zeros.
        let zeroed = |way| fallocate(self.file, way | FallocateFlags::KEEP_SIZE, 0, length);
        let zeroed = zeroed(FallocateFlags::PUNCH_HOLE).or_else(|_| zeroed(FallocateFlags::ZERO_RANGE));
        Ok(zeroed?)
    }

    /// Returns the file, for sharing blocks.
    pub fn file(&self) -> &File {
        self.file
    }

    /// Writes whole blocks at `offset`. Direct I/O needs the memory of an [`AlignedBuffer`](vmroot_sys::AlignedBuffer).
    ///
    /// # Errors
    /// The error of pwrite(2).
    pub fn write(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        let Some(direct) = &self.direct else { return self.file.write_all_at(blocks, offset) };
        match direct.write_all_at(blocks, offset) {
            // The file system opens files for direct I/O and then refuses the writes.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => self.file.write_all_at(blocks, offset),
            result => result,
        }
    }
}
