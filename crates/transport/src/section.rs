//! Readers of a range of a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vmroot_compress::Compression;

use crate::BlobBody;

/// The size in bytes of the buffer for skipping and hashing.
const READ_SIZE: usize = 256 << 10;

/// A range of bytes of a file. Clones read independently, from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    file: Arc<File>,
    /// The offset in the file of the next byte.
    position: u64,
    /// The number of bytes left.
    left: u64,
}

impl Section {
    /// Creates a reader of the `len` bytes of `file` from `position` on.
    pub(crate) fn new(file: Arc<File>, position: u64, len: u64) -> Self {
        Self { file, position, left: len }
    }

    /// Returns the number of bytes left to read.
    pub(crate) fn len(&self) -> u64 {
        self.left
    }

    /// Returns the `len` bytes from `offset` on, or `None` if some are past the end.
    pub(crate) fn part(&self, offset: u64, len: u64) -> Option<Self> {
        let end = offset.checked_add(len)?;
        (end <= self.left).then(|| Self::new(Arc::clone(&self.file), self.position + offset, len))
    }

    /// Reads the next bytes without advancing. Returns their number, which is smaller than the buffer only at the end.
    pub(crate) fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut start = self.clone();
        let mut filled = 0;
        while filled < bytes.len() {
            match start.read(&mut bytes[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Detects the compression of the next bytes.
    pub(crate) fn sniff(&self) -> io::Result<Compression> {
        let mut start = [0; Compression::SNIFF_LEN];
        let read = self.peek(&mut start)?;
        Ok(Compression::sniff(&start[..read]))
    }

    /// Converts the section to the body of a blob that was requested from `offset` on.
    pub(crate) fn into_body(mut self, offset: u64) -> BlobBody {
        let size = self.left;
        let offset = offset.min(size);
        self.position += offset;
        self.left -= offset;
        BlobBody { reader: Box::new(self), offset, size: Some(size) }
    }
}

impl Read for Section {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let wanted = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut bytes[..wanted], self.position)?;
        if read == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
        }
        self.position += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads `source` to its end and passes each piece to `sink`.
pub(crate) fn drain(source: &mut impl Read, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => sink(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
