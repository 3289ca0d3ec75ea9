//! A file that is written once, from its start to its end.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use vmroot_model::{Algorithm, Digest, Hasher};
use vmroot_sys::{AlignedBuffer, DIRECT_ALIGNMENT, open_direct};

/// How many bytes to write before the kernel is asked to start moving them to disk.
const WRITEBACK_STEP: u64 = 8 << 20;

/// How many bytes to gather before they are written past the page cache.
const GATHERED: usize = 1 << 20;

/// Appends to a file, and counts and hashes what it appends.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    /// Bytes written or taken over so far: the length of the file.
    len: u64,
    hasher: Option<Hasher>,
    /// Up to where writeback was started.
    written_back: u64,
    direct: Option<Direct>,
}

/// The way past the page cache: nobody reads a blob again soon, and its pages would push out others.
#[derive(Debug)]
struct Direct {
    file: File,
    /// The end of what was appended; it is not in the file yet.
    gathered: AlignedBuffer,
}

impl Sink {
    /// A sink that appends to an empty file.
    pub(crate) fn new(file: File, algorithm: Option<Algorithm>) -> Self {
        Self { file, len: 0, hasher: algorithm.map(Hasher::new), written_back: 0, direct: None }
    }

    /// A sink that goes on where the file at `path` ends. `hasher` has seen all its `len` bytes, and its position is its
    /// end. The last bytes are in the file once [`Sink::settle`] was called.
    pub(crate) fn resumed(file: File, path: &Path, len: u64, hasher: Hasher) -> Self {
        let aligned = len.is_multiple_of(DIRECT_ALIGNMENT as u64);
        // Whatever is wrong with it, the other way works or says so.
        let direct = if aligned { open_direct(path).ok().flatten() } else { None };
        let direct = direct.map(|file| Direct { file, gathered: AlignedBuffer::new(GATHERED) });
        Self { file, len, hasher: Some(hasher), written_back: len, direct }
    }

    /// Puts what is gathered into the file.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let Some(direct) = &mut self.direct else { return Ok(()) };
        let place = self.len - direct.gathered.len() as u64;
        let whole = direct.gathered.len() / DIRECT_ALIGNMENT * DIRECT_ALIGNMENT;
        let (blocks, rest) = direct.gathered.as_slice().split_at(whole);
        let mut start = 0;
        while start < whole {
            // A layer that comes without compression may be gigabytes of zeros: they become holes.
            let zeros = leading(&blocks[start..], true);
            let data = &blocks[start + zeros..][..leading(&blocks[start + zeros..], false)];
            let place = place + (start + zeros) as u64;
            match direct.file.write_all_at(data, place) {
                // Some file systems open files for direct I/O and then refuse it.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.file.write_all_at(data, place)?,
                written => written?,
            }
            start += zeros + data.len();
            if data.is_empty() {
                // What ends in a hole has no byte yet that says how long it is.
                self.file.set_len(place)?;
            }
        }
        if rest.is_empty() {
            direct.gathered.remove(whole);
            return Ok(());
        }
        // The last bytes are no whole block: they go through the page cache, and so would any that follow them.
        self.file.write_all_at(rest, place + whole as u64)?;
        self.file.seek(SeekFrom::Start(self.len))?;
        self.direct = None;
        Ok(())
    }

    /// Takes bytes on their way past the page cache, as many as fit.
    fn gather(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(direct) = &self.direct else { return Ok(None) };
        if direct.gathered.len() == direct.gathered.capacity() {
            self.settle()?;
        }
        let Some(direct) = &mut self.direct else { return Ok(None) };
        Ok(Some(bytes.len() - direct.gathered.fill(bytes).len()))
    }

    /// The length of the file in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The digest of the bytes so far, if it was asked for.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.hasher.clone().map(Hasher::finish)
    }
}

/// How many bytes the blocks at the front have that are all zeros, or that all are not.
fn leading(blocks: &[u8], zeros: bool) -> usize {
    let is_zero = |block: &[u8]| block == [0; DIRECT_ALIGNMENT];
    blocks.chunks_exact(DIRECT_ALIGNMENT).take_while(|block| is_zero(block) == zeros).count() * DIRECT_ALIGNMENT
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.gather(bytes)? {
            Some(gathered) => gathered,
            None => self.file.write(bytes)?,
        };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        self.len += written as u64;
        if self.direct.is_none() && self.len - self.written_back >= WRITEBACK_STEP {
            // It only makes the fsync at the end shorter: a file system that cannot do it is none the worse.
            let _ = vmroot_sys::start_writeback(&self.file, self.written_back, self.len - self.written_back);
            self.written_back = self.len;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.settle()
    }
}
