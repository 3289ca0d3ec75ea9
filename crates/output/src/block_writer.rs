//! A writer for files that are written once, from start to end. It bypasses the page cache where possible and leaves
//! holes for blocks of zeros.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use vmroot_sys::{AlignedBuffer, DIRECT_ALIGNMENT, open_direct, start_writeback};

const BLOCK: usize = DIRECT_ALIGNMENT;
/// The size in bytes of the buffer: large enough to keep a disk busy, small beside the buffers of a stream.
const BUFFER_SIZE: usize = 1 << 20;
/// The number of bytes that are written through the page cache, where direct I/O is not available, before their
/// writeback is started.
const WRITEBACK_INTERVAL: u64 = 8 << 20;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Appends to a file. The bytes are in the file after [`BlockWriter::flush`].
#[derive(Debug)]
pub struct BlockWriter {
    file: File,
    /// The same file opened for direct I/O, while that works.
    direct: Option<File>,
    /// Bytes not yet written. Their offset in the file is `buffer_offset`, a block boundary.
    buffer: AlignedBuffer,
    buffer_offset: u64,
    stored: u64,
    /// Whether the file has all bytes that were appended.
    is_flushed: bool,
    written_back: u64,
}

impl BlockWriter {
    /// Appends to the open file `file` at `path`. `position` is the length of the file in bytes.
    ///
    /// # Errors
    /// The error of reading the last block, if `position` is not a block boundary.
    pub fn new(file: File, path: &Path, position: u64) -> io::Result<Self> {
        // Without direct I/O the page cache is used. It returns the error if the file cannot be written at all.
        let direct = open_direct(path).ok().flatten();
        let mut buffer = AlignedBuffer::new(BUFFER_SIZE);
        let partial = position % BLOCK as u64;
        let buffer_offset = position - partial;
        let mut block = [0; BLOCK];
        file.read_exact_at(&mut block[..partial as usize], buffer_offset)?;
        buffer.fill(&block[..partial as usize]);
        Ok(Self { file, direct, buffer, buffer_offset, stored: 0, is_flushed: true, written_back: buffer_offset })
    }

    /// Returns the file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Returns the length in bytes of the file once everything is written.
    pub fn position(&self) -> u64 {
        self.buffer_offset + self.buffer.len() as u64
    }

    /// Returns the bytes of data appended so far, in whole blocks. Blocks of zeros in the buffer are included until
    /// [`BlockWriter::write_blocks`] finds them.
    pub fn stored(&self) -> u64 {
        self.stored + self.buffer.len() as u64
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The error of the file system, for example a full disk.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (piece, rest) = match self.missing_to_boundary() {
                0 => {
                    // Whole blocks of zeros are not copied into the buffer.
                    let zeros = leading(bytes, is_zero);
                    if zeros > 0 {
                        self.skip_blocks(zeros as u64)?;
                        bytes = &bytes[zeros..];
                    }
                    let whole = leading(bytes, |block| !is_zero(block));
                    let is_last = bytes.len() - whole < BLOCK;
                    bytes.split_at(if is_last { bytes.len() } else { whole })
                }
                missing => bytes.split_at(missing.min(bytes.len())),
            };
            self.fill_buffer(piece)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Appends `length` zeros, as a hole where possible.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn skip(&mut self, length: u64) -> io::Result<()> {
        let filling = length.min(self.missing_to_boundary() as u64);
        self.fill_buffer(&ZEROS[..filling as usize])?;
        let rest = length - filling;
        if rest > 0 {
            self.skip_blocks(rest / BLOCK as u64 * BLOCK as u64)?;
            self.fill_buffer(&ZEROS[..(rest % BLOCK as u64) as usize])?;
        }
        Ok(())
    }

    /// Appends zeros up to the next multiple of 4096 bytes.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn fill_block(&mut self) -> io::Result<()> {
        self.fill_buffer(&ZEROS[..self.missing_to_boundary()])
    }

    /// Writes the buffer and sets the length of the file.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn flush(&mut self) -> io::Result<()> {
        // A file that was published after a flush must not be written to again.
        if self.is_flushed {
            return Ok(());
        }
        self.write_blocks()?;
        if !self.buffer.is_empty() {
            // The last, incomplete block goes through the page cache. It is written again if more bytes follow.
            self.file.write_all_at(self.buffer.as_slice(), self.buffer_offset)?;
        }
        // A trailing hole is not written, so the length is set explicitly.
        self.file.set_len(self.position())?;
        self.is_flushed = true;
        Ok(())
    }

    /// Writes the whole blocks of the buffer, and leaves holes for blocks of zeros.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn write_blocks(&mut self) -> io::Result<()> {
        let whole = self.buffer.len() / BLOCK * BLOCK;
        let mut start = 0;
        while start < whole {
            let blocks = &self.buffer.as_slice()[start..whole];
            let zeros = leading(blocks, is_zero);
            let data = leading(&blocks[zeros..], |block| !is_zero(block));
            self.write(start + zeros, data)?;
            self.stored += data as u64;
            start += zeros + data;
        }
        self.buffer.remove(whole);
        self.buffer_offset += whole as u64;
        self.write_back()
    }

    fn fill_buffer(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.is_flushed &= bytes.is_empty();
        loop {
            bytes = self.buffer.fill(bytes);
            if bytes.is_empty() {
                return Ok(());
            }
            self.write_blocks()?;
        }
    }

    /// Skips whole blocks. The position must be a block boundary.
    fn skip_blocks(&mut self, length: u64) -> io::Result<()> {
        self.write_blocks()?;
        self.is_flushed = false;
        self.buffer_offset += length;
        Ok(())
    }

    fn missing_to_boundary(&self) -> usize {
        self.buffer.len().next_multiple_of(BLOCK) - self.buffer.len()
    }

    /// Writes `length` bytes of the buffer from `start` on, in whole blocks.
    fn write(&mut self, start: usize, length: usize) -> io::Result<()> {
        let place = self.buffer_offset + start as u64;
        let bytes = &self.buffer.as_slice()[start..start + length];
        if let Some(direct) = &self.direct {
            match direct.write_all_at(bytes, place) {
                // Some file systems open a file for direct I/O and then refuse the writes.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                written => return written,
            }
        }
        self.file.write_all_at(bytes, place)
    }

    fn write_back(&mut self) -> io::Result<()> {
        let length = self.buffer_offset - self.written_back;
        if self.direct.is_none() && length >= WRITEBACK_INTERVAL {
            start_writeback(&self.file, self.written_back, length)?;
            self.written_back = self.buffer_offset;
        }
        Ok(())
    }
}

fn is_zero(block: &[u8]) -> bool {
    block == ZEROS
}

/// Returns the length in bytes of the leading whole blocks for which `is_of_kind` is true.
fn leading(bytes: &[u8], is_of_kind: impl Fn(&[u8]) -> bool) -> usize {
    bytes.chunks_exact(BLOCK).take_while(|block| is_of_kind(block)).count() * BLOCK
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    /// An operation on a writer.
    #[derive(Debug, Clone)]
    enum Step {
        Append(Vec<u8>),
        Skip(u64),
        FillBlock,
        Flush,
        /// A new writer continues at the end.
        Resume,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let size = prop_oneof![0..20_usize, 4090..4100_usize, 250_000..280_000_usize];
        let data = (size, any::<bool>(), any::<u8>()).prop_map(|(size, zero, seed)| {
            Step::Append((0..size).map(|at| if zero { 0 } else { (at as u8).wrapping_mul(seed) }).collect())
        });
        let skip = prop_oneof![0..20_u64, 4090..4100_u64, Just(1_000_000_u64)].prop_map(Step::Skip);
        let step = prop_oneof![6 => data, 1 => skip, 1 => Just(Step::FillBlock), 1 => Just(Step::Flush), 1 => Just(Step::Resume)];
        prop::collection::vec(step, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn file_matches_an_in_memory_buffer(steps in steps()) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let writer = |position| BlockWriter::new(file.reopen().unwrap(), file.path(), position).unwrap();
            let mut current = writer(0);
            let mut expected: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Append(bytes) => {
                        current.append(&bytes).unwrap();
                        expected.extend_from_slice(&bytes);
                    }
                    Step::Skip(length) => {
                        current.skip(length).unwrap();
                        expected.resize(expected.len() + length as usize, 0);
                    }
                    Step::FillBlock => {
                        current.fill_block().unwrap();
                        expected.resize(expected.len().next_multiple_of(BLOCK), 0);
                    }
                    Step::Flush | Step::Resume => {
                        current.flush().unwrap();
                        prop_assert!(std::fs::read(file.path()).unwrap() == expected);
                        if matches!(step, Step::Resume) {
                            current = writer(expected.len() as u64);
                        }
                    }
                }
                prop_assert_eq!(current.position(), expected.len() as u64);
            }
            current.flush().unwrap();
            prop_assert!(std::fs::read(file.path()).unwrap() == expected);
        }
    }

    #[test]
    fn a_second_flush_writes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = BlockWriter::new(file.reopen().unwrap(), file.path(), 0).unwrap();
        writer.append(b"published").unwrap();
        writer.flush().unwrap();
        file.as_file().write_all_at(b"P", 0).unwrap();
        writer.flush().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"Published");
    }

    #[test]
    fn zeros_become_holes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = BlockWriter::new(file.reopen().unwrap(), file.path(), 0).unwrap();
        writer.append(&vec![0; 3 << 20]).unwrap();
        writer.append(b"end").unwrap();
        writer.flush().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        assert_eq!(metadata.len(), (3 << 20) + 3);
        assert!(metadata.blocks() * 512 <= 64 << 10, "{} blocks", metadata.blocks());
    }
}
