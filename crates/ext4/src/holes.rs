//! Which blocks of a file get no room, for they hold only zeros.
//!
//! The bytes decide, not the holes of the file that they are read from: a copy of it may have lost them, and an image
//! is a function of the root alone. Known holes only save the reading.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use vmroot_container_fs::Extent;
use vmroot_output::Holes;

use super::format::BLOCK;

/// Fewer blocks of zeros than this stay data: each hole costs an extent, and an inode has room for four. It also makes
/// looking for them cheap: one of so many blocks in a row has a number that is one less than a multiple.
const SMALLEST: u64 = 16;

/// The runs of blocks of a file that hold data, ascending and apart; nothing where that is all of them.
pub(super) fn data_runs(holes: &mut Holes<'_>, extent: Extent) -> io::Result<Option<Vec<Range<u64>>>> {
    let blocks = extent.length.div_ceil(BLOCK as u64);
    let mut file = Blocks { holes, extent, blocks };
    let mut runs = Vec::new();
    // All in front of it is in a run, or in a hole.
    let mut start = 0;
    let mut probe = SMALLEST - 1;
    while probe < blocks {
        let end = file.end_of_zeros(probe)?;
        if end > probe {
            let first = file.start_of_zeros(probe, start)?;
            if end - first >= SMALLEST {
                if start < first {
                    runs.push(start..first);
                }
                start = end;
            }
        }
        probe = (end.max(probe + 1) + 1).next_multiple_of(SMALLEST) - 1;
    }
    if start == 0 {
        return Ok(None);
    }
    if start < blocks {
        runs.push(start..blocks);
    }
    Ok(Some(runs))
}

struct Blocks<'h, 'f> {
    holes: &'h mut Holes<'f>,
    extent: Extent,
    blocks: u64,
}

impl Blocks<'_, '_> {
    /// The first block from `block` on that has something else than zeros, or the end.
    fn end_of_zeros(&mut self, mut block: u64) -> io::Result<u64> {
        while block < self.blocks {
            let (at, end) = (self.extent.offset + block * BLOCK as u64, self.extent.offset + self.extent.length);
            let Some(data) = self.holes.next_data(at..end)? else { return Ok(self.blocks) };
            let first = (data.start - self.extent.offset) / BLOCK as u64;
            if first == block {
                if !self.is_zero(block)? {
                    return Ok(block);
                }
                block += 1;
            } else {
                block = first;
            }
        }
        Ok(self.blocks)
    }

    /// The first of the blocks of zeros in front of `block`, none below `least`.
    fn start_of_zeros(&self, mut block: u64, least: u64) -> io::Result<u64> {
        while block > least && self.is_zero(block - 1)? {
            block -= 1;
        }
        Ok(block)
    }

    fn is_zero(&self, block: u64) -> io::Result<bool> {
        let from = block * BLOCK as u64;
        let mut bytes = [0; BLOCK];
        let count = (self.extent.length - from).min(BLOCK as u64) as usize;
        let file: &File = self.holes.file();
        file.read_exact_at(&mut bytes[..count], self.extent.offset + from)?;
        Ok(bytes == [0; BLOCK])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the module promises, block by block.
    fn expected(blocks: &[bool]) -> Option<Vec<Range<u64>>> {
        let mut kept = vec![true; blocks.len()];
        let mut at = 0;
        for run in blocks.chunk_by(|a, b| a == b) {
            if !run[0] && run.len() as u64 >= SMALLEST {
                kept[at..at + run.len()].fill(false);
            }
            at += run.len();
        }
        let mut runs: Vec<Range<u64>> = Vec::new();
        for (block, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
            match runs.last_mut() {
                Some(last) if last.end == block as u64 => last.end += 1,
                _ => runs.push(block as u64..block as u64 + 1),
            }
        }
        kept.contains(&false).then_some(runs)
    }

    proptest! {
        #[test]
        fn long_runs_of_zeros_are_left_out_whether_they_are_holes_or_not(
            runs in prop::collection::vec((any::<bool>(), any::<bool>(), 1_usize..40), 0..12),
            tail in 1_usize..=BLOCK,
        ) {
            let file = tempfile::tempfile().unwrap();
            let mut blocks = Vec::new();
            for (data, written, length) in runs {
                for _ in 0..length {
                    if data || written {
                        file.write_all_at(&[u8::from(data); BLOCK], ((3 + blocks.len()) * BLOCK) as u64).unwrap();
                    }
                    blocks.push(data);
                }
            }
            file.set_len(((3 + blocks.len()) * BLOCK) as u64).unwrap();
            let length = (blocks.len() * BLOCK).saturating_sub(BLOCK - tail) as u64;
            let extent = Extent { file: 0, offset: 3 * BLOCK as u64, length };
            let found = data_runs(&mut Holes::new(&file), extent).unwrap();
            prop_assert_eq!(found, expected(&blocks));
        }
    }
}
