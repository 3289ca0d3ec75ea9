//! Which bytes of the metadata which inode gets.

use std::ops::Range;

use super::format::{BLOCK, SLOT};

const SLOTS: usize = (BLOCK / SLOT) as usize;

/// Hands out room for inodes and what follows them, so that nothing that fits into a block crosses into another.
///
/// Each gets the smallest gap that it fits into, of equal ones the latest, for that is near to what came just before; a
/// new block is begun only where there is no such gap. What is larger than a block gets new blocks in a row.
pub(crate) struct Packer {
    /// Blocks that are begun.
    blocks: u64,
    /// The blocks of each that has several, in order.
    spans: Vec<Range<u64>>,
    /// For each number of free slots the blocks that have it.
    gaps: [Vec<u64>; SLOTS],
    /// A bit for each number of free slots that some block has.
    sizes: u128,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { blocks: 0, spans: Vec::new(), gaps: std::array::from_fn(|_| Vec::new()), sizes: 0 }
    }

    /// Blocks that are begun.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The blocks of each that has several, in order.
    pub(crate) fn into_spans(self) -> Vec<Range<u64>> {
        self.spans
    }

    /// Room for `size` bytes, at least one, from a multiple of [`SLOT`] on; gives the position in bytes.
    pub(crate) fn place(&mut self, size: u64) -> u64 {
        let slots = size.div_ceil(SLOT);
        if slots > SLOTS as u64 {
            let first = self.blocks;
            self.blocks += size.div_ceil(BLOCK);
            self.spans.push(first..self.blocks);
            self.free(self.blocks - 1, (self.blocks - first) * SLOTS as u64 - slots);
            return first * BLOCK;
        }
        // A gap of `n` slots is at index and bit `n`; there is none of a whole block.
        let fitting = self.sizes.checked_shr(slots as u32).unwrap_or(0);
        let (block, free) = if fitting == 0 {
            self.blocks += 1;
            (self.blocks - 1, SLOTS as u64)
        } else {
            let free = slots + u64::from(fitting.trailing_zeros());
            (self.take(free), free)
        };
        self.free(block, free - slots);
        (block + 1) * BLOCK - free * SLOT
    }

    fn take(&mut self, slots: u64) -> u64 {
        let gaps = &mut self.gaps[slots as usize];
        let block = gaps.pop().expect("the bit says that there is one");
        if gaps.is_empty() {
            self.sizes &= !(1 << slots);
        }
        block
    }

    /// The last `slots` slots of a block are free.
    fn free(&mut self, block: u64, slots: u64) {
        if slots > 0 {
            self.gaps[slots as usize].push(block);
            self.sizes |= 1 << slots;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_gap_is_taken() {
        let mut packer = Packer::new();
        assert_eq!(packer.place(4000), 0);
        assert_eq!(packer.place(4090 - 128), 4096);
        assert_eq!(packer.place(64), 4096 - 64 - 32);
        assert_eq!(packer.place(64), 4096 + 4096 - 128);
        assert_eq!(packer.place(10_000), 2 * 4096);
        assert_eq!(packer.place(2000), 2 * 4096 + 10_016);
        assert_eq!(packer.blocks(), 5);
    }

    proptest! {
        #[test]
        fn nothing_overlaps_or_crosses(sizes in proptest::collection::vec(1..9000_u64, 1..200)) {
            let mut packer = Packer::new();
            let mut taken: Vec<_> = sizes.iter().map(|&size| (packer.place(size), size)).collect();
            taken.sort();
            for pair in taken.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0);
            }
            for (start, size) in taken {
                prop_assert!(start % SLOT == 0 && start + size <= packer.blocks() * BLOCK);
                prop_assert!(size > BLOCK || start / BLOCK == (start + size - 1) / BLOCK);
                prop_assert!(size <= BLOCK || start % BLOCK == 0);
            }
        }
    }
}
