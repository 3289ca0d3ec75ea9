//! The view of a disk after a replay.

use std::io;

use super::log::Copy;
use super::superblock::MAGIC;
use crate::read::ReadAt;

/// A disk after the replay of its journal. The newest copies of blocks are read from the journal, and all others from
/// their places.
#[derive(Debug)]
pub struct Replayed<R> {
    disk: R,
    block_size: u64,
    /// By ascending blocks.
    blocks: Vec<Copy>,
}

impl<R: ReadAt> Replayed<R> {
    pub(super) fn new(disk: R, block_size: usize, blocks: Vec<Copy>) -> Self {
        Self { disk, block_size: block_size as u64, blocks }
    }

    /// Returns the number of blocks that are read from the journal. 0 if the journal needed no replay.
    pub fn replayed_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Returns the disk.
    pub fn disk(&self) -> &R {
        &self.disk
    }

    /// Reads a part of a block from its copy.
    fn read_copy(&self, copy: &Copy, within: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_exact_at(buffer, copy.place * self.block_size + within)?;
        if copy.is_escaped {
            for (byte, magic) in buffer.iter_mut().zip(MAGIC.to_be_bytes().into_iter().skip(within.min(4) as usize)) {
                *byte = magic;
            }
        }
        Ok(())
    }
}

impl<R: ReadAt> ReadAt for Replayed<R> {
    fn length(&self) -> io::Result<u64> {
        self.disk.length()
    }

    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let mut next = self.blocks.partition_point(|copy| (copy.block + 1) * self.block_size <= offset);
        while !buffer.is_empty() {
            let copy = self.blocks.get(next);
            let start = copy.map_or(u64::MAX, |copy| copy.block * self.block_size);
            let until = if offset < start { start } else { start + self.block_size };
            let length = (until - offset).min(buffer.len() as u64) as usize;
            let (piece, rest) = buffer.split_at_mut(length);
            match copy.filter(|_| offset >= start) {
                None => self.disk.read_exact_at(piece, offset)?,
                Some(copy) => {
                    self.read_copy(copy, offset - start, piece)?;
                    next += 1;
                }
            }
            buffer = rest;
            offset += length as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_replace_their_blocks_in_any_range() {
        let disk: Vec<u8> = (0..64).collect();
        let blocks = vec![
            Copy { block: 1, place: 6, is_escaped: false },
            Copy { block: 2, place: 7, is_escaped: true },
            Copy { block: 4, place: 0, is_escaped: false },
        ];
        let mut expected = disk.clone();
        expected[8..16].copy_from_slice(&disk[48..56]);
        expected[16..24].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98, 60, 61, 62, 63]);
        expected[32..40].copy_from_slice(&disk[..8]);
        let replayed = Replayed::new(disk, 8, blocks);
        for start in 0..64 {
            for end in start..=64 {
                let mut buffer = vec![0; end - start];
                replayed.read_exact_at(&mut buffer, start as u64).unwrap();
                assert_eq!(buffer, expected[start..end], "{start}..{end}");
            }
        }
        assert!(replayed.read_exact_at(&mut [0; 2], 63).is_err());
    }
}
