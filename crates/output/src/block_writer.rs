//! A file that is written once, from its start to its end: past the page cache where that works, blocks of zeros as holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use vmroot_sys::{AlignedBuffer, DIRECT_ALIGNMENT, open_direct, start_writeback};

const BLOCK: usize = DIRECT_ALIGNMENT;
/// Bytes that are gathered before they are written: enough for a disk to be busy with, little beside a stream's buffers.
const GATHERED: usize = 1 << 20;
/// Bytes that are written through the page cache, where they must be, before the kernel is asked to write them back.
const WRITEBACK: u64 = 8 << 20;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Appends to a file. What was appended is in the file after [`BlockWriter::flush`].
#[derive(Debug)]
pub struct BlockWriter {
    file: File,
    /// The same file for writing past the page cache, as long as that works.
    direct: Option<File>,
    /// Bytes not written yet; they belong at `gathered_at`, a block boundary.
    gathered: AlignedBuffer,
    gathered_at: u64,
    stored: u64,
    written_back: u64,
}

impl BlockWriter {
    /// Writes to the file at `path`, which is `file`, from its byte `position` on: its end.
    ///
    /// # Errors
    /// What reading the last block says, where `position` lies in one.
    pub fn new(file: File, path: &Path, position: u64) -> io::Result<Self> {
        // Where direct I/O cannot be had, the page cache does the same, or says what is wrong.
        let direct = open_direct(path).ok().flatten();
        let mut gathered = AlignedBuffer::new(GATHERED);
        let begun = position % BLOCK as u64;
        let gathered_at = position - begun;
        let mut block = [0; BLOCK];
        file.read_exact_at(&mut block[..begun as usize], gathered_at)?;
        gathered.fill(&block[..begun as usize]);
        Ok(Self { file, direct, gathered, gathered_at, stored: 0, written_back: gathered_at })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The length of the file in bytes when all is written.
    pub fn position(&self) -> u64 {
        self.gathered_at + self.gathered.len() as u64
    }

    /// Bytes of data that were appended so far, in whole blocks: at most, until [`BlockWriter::write_blocks`], which
    /// finds those that are zeros.
    pub fn stored(&self) -> u64 {
        self.stored + self.gathered.len() as u64
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// What the file system says: a full disk, a bad one.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (piece, rest) = match self.to_block_boundary() {
                0 => {
                    // Zeros that are blocks already are not even copied.
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
            self.gather(piece)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Appends zeros without writing them.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn skip(&mut self, length: u64) -> io::Result<()> {
        let filling = length.min(self.to_block_boundary() as u64);
        self.gather(&ZEROS[..filling as usize])?;
        let rest = length - filling;
        if rest > 0 {
            self.skip_blocks(rest / BLOCK as u64 * BLOCK as u64)?;
            self.gather(&ZEROS[..(rest % BLOCK as u64) as usize])?;
        }
        Ok(())
    }

    /// Appends zeros up to the next multiple of 4096.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn fill_block(&mut self) -> io::Result<()> {
        self.gather(&ZEROS[..self.to_block_boundary()])
    }

    /// Writes all that was appended and sets the file's length.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_blocks()?;
        if !self.gathered.is_empty() {
            // No whole block: it goes through the page cache, and is written again if more follows.
            self.file.write_all_at(self.gathered.as_slice(), self.gathered_at)?;
        }
        // A file that ends in a hole has no byte that says how long it is.
        self.file.set_len(self.position())
    }

    /// Writes the whole blocks of what is gathered, and leaves holes for blocks of zeros.
    ///
    /// # Errors
    /// As [`BlockWriter::append`].
    pub fn write_blocks(&mut self) -> io::Result<()> {
        let whole = self.gathered.len() / BLOCK * BLOCK;
        let mut start = 0;
        while start < whole {
            let blocks = &self.gathered.as_slice()[start..whole];
            let zeros = leading(blocks, is_zero);
            let data = leading(&blocks[zeros..], |block| !is_zero(block));
            self.write(start + zeros, data)?;
            self.stored += data as u64;
            start += zeros + data;
        }
        self.gathered.remove(whole);
        self.gathered_at += whole as u64;
        self.write_back()
    }

    fn gather(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            bytes = self.gathered.fill(bytes);
            if bytes.is_empty() {
                return Ok(());
            }
            self.write_blocks()?;
        }
    }

    /// Moves forward over whole blocks, from a block boundary on.
    fn skip_blocks(&mut self, length: u64) -> io::Result<()> {
        self.write_blocks()?;
        self.gathered_at += length;
        Ok(())
    }

    fn to_block_boundary(&self) -> usize {
        self.gathered.len().next_multiple_of(BLOCK) - self.gathered.len()
    }

    /// Writes `length` gathered bytes from `start` on, whole blocks, to their place.
    fn write(&mut self, start: usize, length: usize) -> io::Result<()> {
        let place = self.gathered_at + start as u64;
        let bytes = &self.gathered.as_slice()[start..start + length];
        if let Some(direct) = &self.direct {
            match direct.write_all_at(bytes, place) {
                // Some file systems open files for direct I/O and then refuse it.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                written => return written,
            }
        }
        self.file.write_all_at(bytes, place)
    }

    fn write_back(&mut self) -> io::Result<()> {
        let length = self.gathered_at - self.written_back;
        if self.direct.is_none() && length >= WRITEBACK {
            start_writeback(&self.file, self.written_back, length)?;
            self.written_back = self.gathered_at;
        }
        Ok(())
    }
}

fn is_zero(block: &[u8]) -> bool {
    block == ZEROS
}

/// Bytes of the whole blocks at the front that are of a kind.
fn leading(bytes: &[u8], is_of_kind: impl Fn(&[u8]) -> bool) -> usize {
    bytes.chunks_exact(BLOCK).take_while(|block| is_of_kind(block)).count() * BLOCK
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    /// What is done to a writer.
    #[derive(Debug, Clone)]
    enum Step {
        Append(Vec<u8>),
        Skip(u64),
        FillBlock,
        Flush,
        /// Another writer goes on where this one ends.
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
        fn holds_what_a_plain_buffer_would(steps in steps()) {
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
    fn zeros_take_no_space() {
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
