//! Finds the blocks of a file that become holes because they hold only zeros.
//!
//! The bytes decide, not the holes of the contents file: a copy of it may have lost its holes, and the image must
//! depend on the root alone. The file's holes only save reading.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use vmroot_container_fs::Extent;
use vmroot_output::Holes;

use super::format::BLOCK;

/// The fewest consecutive blocks of zeros that become a hole. Each hole costs an extent, and an inode has room for
/// four. Searching is cheap: every such run contains a block whose number is one less than a multiple of this number,
/// so only these blocks are probed.
const MIN_HOLE: u64 = 16;

/// Returns the runs of blocks that hold data, ascending and disjoint; `None` if no block becomes a hole.
pub(super) fn data_runs(holes: &mut Holes<'_>, extent: Extent) -> io::Result<Option<Vec<Range<u64>>>> {
    let blocks = extent.length.div_ceil(BLOCK as u64);
    let mut file = FileBlocks { holes, extent, blocks };
    let mut runs = Vec::new();
    // All blocks before `start` are in a run or in a hole.
    let mut start = 0;
    let mut probe = MIN_HOLE - 1;
    while probe < blocks {
        let end = file.end_of_zeros(probe)?;
        if end > probe {
            let first = file.start_of_zeros(probe, start)?;
            if end - first >= MIN_HOLE {
                if start < first {
                    runs.push(start..first);
                }
                start = end;
            }
        }
        probe = (end.max(probe + 1) + 1).next_multiple_of(MIN_HOLE) - 1;
    }
    if start == 0 {
        return Ok(None);
    }
    if start < blocks {
        runs.push(start..blocks);
    }
    Ok(Some(runs))
}

struct FileBlocks<'h, 'f> {
    holes: &'h mut Holes<'f>,
    extent: Extent,
    blocks: u64,
}

impl FileBlocks<'_, '_> {
    /// Returns the first block from `block` on that is not all zeros; the number of blocks if there is none.
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

    /// Returns the first block of the zeros that end before `block`, but at least `least`.
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

    /// A model of [`data_runs`] that works block by block.
    fn expected(blocks: &[bool]) -> Option<Vec<Range<u64>>> {
        let mut kept = vec![true; blocks.len()];
        let mut at = 0;
        for run in blocks.chunk_by(|a, b| a == b) {
            if !run[0] && run.len() as u64 >= MIN_HOLE {
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
        fn long_runs_of_zeros_become_holes(
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
