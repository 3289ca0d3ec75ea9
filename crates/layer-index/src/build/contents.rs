//! Writing `.contents`: files on block boundaries, blocks of zeros as holes, past the page cache where that works.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vmroot_sys::{AlignedBuffer, open_direct, start_writeback};

use crate::format::ALIGNMENT;
use crate::{Error, Result};

const BLOCK: usize = ALIGNMENT as usize;
/// How much is gathered before it is written: enough for a disk to be busy with, little beside the stream's own buffers.
const GATHERED: usize = 1 << 20;
/// How much is written through the page cache, where it must be, before the kernel is asked to begin writing it back.
const WRITEBACK: u64 = 8 << 20;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes file contents one after the other, each from the next block boundary on.
pub(super) struct ContentsWriter {
    file: File,
    /// The same file for writing past the page cache, as long as that works.
    direct: Option<File>,
    path: PathBuf,
    /// Bytes not written yet; they belong at `gathered_at`, a block boundary.
    gathered: AlignedBuffer,
    gathered_at: u64,
    /// Bytes that are in the file, without holes.
    written: u64,
    written_back: u64,
}

impl ContentsWriter {
    pub(super) fn new(file: File, path: &Path) -> Self {
        // Whatever is wrong with it, the other way works or says so.
        let direct = open_direct(path).ok().flatten();
        let gathered = AlignedBuffer::new(GATHERED);
        Self { file, direct, path: path.to_owned(), gathered, gathered_at: 0, written: 0, written_back: 0 }
    }

    /// Where the next byte will lie.
    pub(super) fn position(&self) -> u64 {
        self.gathered_at + self.gathered.len() as u64
    }

    /// Whether so many bytes are not enough for all data so far, in whole blocks.
    pub(super) fn stores_more_than(&mut self, limit: u64) -> Result<bool> {
        if self.written + self.gathered.len() as u64 <= limit {
            return Ok(false);
        }
        // There may be blocks of zeros in what is gathered.
        self.flush()?;
        Ok(self.written > limit)
    }

    /// Writes bytes at the current position.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
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

    fn gather(&mut self, mut bytes: &[u8]) -> Result<()> {
        loop {
            bytes = self.gathered.fill(bytes);
            if bytes.is_empty() {
                return Ok(());
            }
            self.flush()?;
        }
    }

    /// Moves forward over whole blocks, from a block boundary on.
    fn skip_blocks(&mut self, length: u64) -> Result<()> {
        self.flush()?;
        self.gathered_at += length;
        Ok(())
    }

    /// Moves forward over zeros without writing them.
    pub(super) fn skip(&mut self, length: u64) -> Result<()> {
        let filling = length.min(self.to_block_boundary() as u64);
        self.gather(&ZEROS[..filling as usize])?;
        let rest = length - filling;
        if rest > 0 {
            self.skip_blocks(rest / ALIGNMENT * ALIGNMENT)?;
            self.gather(&ZEROS[..(rest % ALIGNMENT) as usize])?;
        }
        Ok(())
    }

    /// Moves to the next block boundary, where the next file begins.
    pub(super) fn end_file(&mut self) -> Result<()> {
        self.gather(&ZEROS[..self.to_block_boundary()])
    }

    /// Writes what is gathered and sets the file's length; gives the length.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.end_file()?;
        self.flush()?;
        self.file.set_len(self.gathered_at).map_err(Error::io(&self.path))?;
        Ok(self.gathered_at)
    }

    fn to_block_boundary(&self) -> usize {
        self.gathered.len().next_multiple_of(BLOCK) - self.gathered.len()
    }

    /// Writes the whole blocks of what is gathered, and leaves holes for blocks of zeros; the rest moves to the front.
    fn flush(&mut self) -> Result<()> {
        let whole = self.gathered.len() / BLOCK * BLOCK;
        let mut start = 0;
        while start < whole {
            let blocks = &self.gathered.as_slice()[start..whole];
            let zeros = leading(blocks, is_zero);
            let data = leading(&blocks[zeros..], |block| !is_zero(block));
            self.write(start + zeros, data).map_err(Error::io(&self.path))?;
            self.written += data as u64;
            start += zeros + data;
        }
        self.gathered.remove(whole);
        self.gathered_at += whole as u64;
        self.write_back().map_err(Error::io(&self.path))
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

/// How many bytes the whole blocks at the front have that are of a kind.
fn leading(bytes: &[u8], is_of_kind: impl Fn(&[u8]) -> bool) -> usize {
    bytes.chunks_exact(BLOCK).take_while(|block| is_of_kind(block)).count() * BLOCK
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    /// What a file is written by: data, zeros to skip, or the end of a file.
    #[derive(Debug, Clone)]
    enum Step {
        Append(Vec<u8>),
        Skip(u64),
        End,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let size = prop_oneof![0..20_usize, 4090..4100_usize, 250_000..280_000_usize];
        let data = (size, any::<bool>(), any::<u8>()).prop_map(|(size, zero, seed)| {
            Step::Append((0..size).map(|at| if zero { 0 } else { (at as u8).wrapping_mul(seed) }).collect())
        });
        let skip = prop_oneof![0..20_u64, 4090..4100_u64, Just(1_000_000_u64)].prop_map(Step::Skip);
        prop::collection::vec(prop_oneof![4 => data, 1 => skip, 1 => Just(Step::End)], 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn holds_what_a_plain_buffer_would(steps in steps()) {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut writer = ContentsWriter::new(file.reopen().unwrap(), file.path());
            let mut expected: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Append(bytes) => {
                        writer.append(&bytes).unwrap();
                        expected.extend_from_slice(&bytes);
                    }
                    Step::Skip(length) => {
                        writer.skip(length).unwrap();
                        expected.resize(expected.len() + length as usize, 0);
                    }
                    Step::End => {
                        writer.end_file().unwrap();
                        expected.resize(expected.len().next_multiple_of(BLOCK), 0);
                    }
                }
                prop_assert_eq!(writer.position(), expected.len() as u64);
            }
            expected.resize(expected.len().next_multiple_of(BLOCK), 0);
            prop_assert_eq!(writer.finish().unwrap(), expected.len() as u64);
            prop_assert!(std::fs::read(file.path()).unwrap() == expected);
        }
    }

    #[test]
    fn zeros_take_no_space() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ContentsWriter::new(file.reopen().unwrap(), file.path());
        writer.append(&vec![0; 3 << 20]).unwrap();
        writer.append(b"end").unwrap();
        writer.finish().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        assert_eq!(metadata.len(), (3 << 20) + 4096);
        assert!(metadata.blocks() * 512 <= 64 << 10, "{} blocks", metadata.blocks());
    }
}
