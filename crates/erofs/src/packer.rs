//! Allocates the bytes of the metadata to inodes.

use std::ops::Range;

use super::format::{BLOCK, SLOT};

const SLOTS: usize = (BLOCK / SLOT) as usize;

/// Allocates room for inodes and their trailing data so that an item that fits into a block never crosses a block
/// boundary.
///
/// An item gets the smallest gap that is large enough. Of gaps of the same size it gets the newest, which is close to
/// the items placed just before. A new block is begun only if no gap is large enough. An item that is larger than a
/// block gets consecutive new blocks.
pub(crate) struct Packer {
    /// Number of blocks in use.
    blocks: u64,
    /// The block ranges of items that have several blocks, in ascending order.
    spans: Vec<Range<u64>>,
    /// The blocks that have `n` free slots, at index `n`.
    gaps: [Vec<u64>; SLOTS],
    /// Bit `n` is set if some block has `n` free slots.
    sizes: u128,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { blocks: 0, spans: Vec::new(), gaps: std::array::from_fn(|_| Vec::new()), sizes: 0 }
    }

    /// Returns the number of blocks in use.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns the block ranges of items that have several blocks, in ascending order.
    pub(crate) fn into_spans(self) -> Vec<Range<u64>> {
        self.spans
    }

    /// Allocates `size` bytes, at least one, at a multiple of [`SLOT`]. Returns their offset in bytes.
    pub(crate) fn place(&mut self, size: u64) -> u64 {
        let slots = size.div_ceil(SLOT);
        if slots > SLOTS as u64 {
            let first = self.blocks;
            self.blocks += size.div_ceil(BLOCK);
            self.spans.push(first..self.blocks);
            self.free(self.blocks - 1, (self.blocks - first) * SLOTS as u64 - slots);
            return first * BLOCK;
        }
        // A gap of `n` slots has index and bit `n`. No gap is a whole block.
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

    /// Records that the last `slots` slots of a block are free.
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
