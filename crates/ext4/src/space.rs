//! Handing out blocks, one after the other, around those that are fixed.
//!
//! Nothing is ever given back, so all blocks below the position are taken, and where something lies is known from where
//! the handing out began: the position is all that has to be remembered of a file.

use std::ops::Range;

use super::geometry::Geometry;

/// The next free block.
pub(super) struct Space<'g> {
    fixed: &'g [Range<u64>],
    at: u64,
}

impl<'g> Space<'g> {
    /// Goes on at a position.
    pub(super) fn at(geometry: &'g Geometry, at: u64) -> Self {
        let first = geometry.fixed.partition_point(|fixed| fixed.end <= at);
        Self { fixed: &geometry.fixed[first..], at }
    }

    /// The position: every block below is taken.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Takes up to `count` blocks in one piece, at least one.
    pub(super) fn take_piece(&mut self, count: u64) -> Range<u64> {
        while let Some(fixed) = self.fixed.first().filter(|fixed| fixed.start <= self.at) {
            self.at = self.at.max(fixed.end);
            self.fixed = &self.fixed[1..];
        }
        let limit = self.fixed.first().map_or(u64::MAX, |fixed| fixed.start);
        let piece = self.at..self.at.saturating_add(count).min(limit);
        self.at = piece.end;
        piece
    }

    /// Takes one block.
    pub(super) fn take_block(&mut self) -> u64 {
        self.take_piece(1).start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_around_what_is_fixed() {
        let geometry = Geometry::new(2, 16);
        // Superblock, descriptors, four bitmaps, two tables; then the superblock of group 1.
        let mut space = Space::at(&geometry, 0);
        assert_eq!(space.take_piece(10), 8..18);
        assert_eq!(space.take_piece(100_000), 18..32_768);
        assert_eq!(space.take_piece(5), 32_770..32_775);
        assert_eq!(space.take_block(), 32_775);
        assert_eq!(Space::at(&geometry, 32_768).take_block(), 32_770);
        assert_eq!(geometry.fixed_in(0..40_000), 10);
        assert_eq!(geometry.fixed_in(3..32_769), 6);
    }
}
