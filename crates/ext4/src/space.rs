//! Allocates blocks in ascending order, skipping the fixed ones.
//!
//! Blocks are never freed, so all blocks below the position are used. The same requests from the same position return
//! the same blocks. So only the position at which a file's allocation began has to be stored.

use std::ops::Range;

use super::geometry::Geometry;

/// An allocator that returns the next free blocks.
pub(super) struct Space<'g> {
    fixed: &'g [Range<u64>],
    at: u64,
}

impl<'g> Space<'g> {
    /// Creates an allocator that begins at a position.
    pub(super) fn at(geometry: &'g Geometry, at: u64) -> Self {
        let first = geometry.fixed.partition_point(|fixed| fixed.end <= at);
        Self { fixed: &geometry.fixed[first..], at }
    }

    /// Returns the position: all blocks below it are used.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Allocates up to `count` consecutive blocks, at least one.
    pub(super) fn allocate(&mut self, count: u64) -> Range<u64> {
        while let Some(fixed) = self.fixed.first().filter(|fixed| fixed.start <= self.at) {
            self.at = self.at.max(fixed.end);
            self.fixed = &self.fixed[1..];
        }
        let limit = self.fixed.first().map_or(u64::MAX, |fixed| fixed.start);
        let piece = self.at..self.at.saturating_add(count).min(limit);
        self.at = piece.end;
        piece
    }

    /// Allocates one block.
    pub(super) fn allocate_block(&mut self) -> u64 {
        self.allocate(1).start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocation_skips_fixed_blocks() {
        let geometry = Geometry::new(2, 16);
        // The superblock, descriptors, four bitmaps and two tables; then the superblock of group 1.
        let mut space = Space::at(&geometry, 0);
        assert_eq!(space.allocate(10), 8..18);
        assert_eq!(space.allocate(100_000), 18..32_768);
        assert_eq!(space.allocate(5), 32_770..32_775);
        assert_eq!(space.allocate_block(), 32_775);
        assert_eq!(Space::at(&geometry, 32_768).allocate_block(), 32_770);
        assert_eq!(geometry.fixed_in(0..40_000), 10);
        assert_eq!(geometry.fixed_in(3..32_769), 6);
    }
}
