//! Where groups and their metadata lie.
//!
//! Sixteen groups share a place for their bitmaps and inode tables (`flex_bg`), so that file contents lie in one piece
//! between two such places. Copies of the superblock stay where `sparse_super` puts them: groups 0, 1 and the powers of
//! 3, 5 and 7.

use std::ops::Range;

use super::format::{BLOCK, DESCRIPTOR, GROUP, INODES_PER_BLOCK};

/// Groups that keep their metadata together, as a power of two; mke2fs takes the same.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;

/// Groups, inodes, and where the metadata of groups lies.
pub(super) struct Geometry {
    /// Inodes of each group.
    pub(super) inodes_per_group: u32,
    /// One for each group.
    pub(super) places: Vec<Place>,
    /// Blocks that are taken before any file is there: ascending, apart.
    pub(super) fixed: Vec<Range<u64>>,
}

/// Where the metadata of a group lies, in blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
}

impl Geometry {
    pub(super) fn new(groups: u64, inodes_per_group: u32) -> Self {
        let length = 1 + descriptor_blocks(groups);
        let supers = (0..groups).filter(|&group| has_superblock(group));
        let supers: Vec<_> = supers.map(|group| group * GROUP..group * GROUP + length).collect();
        let mut geometry = Self { inodes_per_group, places: Vec::new(), fixed: supers.clone() };
        for first in (0..groups).step_by(1 << LOG_GROUPS_PER_FLEX) {
            geometry.place(first, (groups - first).min(1 << LOG_GROUPS_PER_FLEX), &supers);
        }
        geometry.fixed.sort_by_key(|range| range.start);
        geometry
    }

    pub(super) fn groups(&self) -> u64 {
        self.places.len() as u64
    }

    /// Blocks of an inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        u64::from(self.inodes_per_group / INODES_PER_BLOCK)
    }

    /// Blocks of all group descriptors.
    pub(super) fn descriptor_blocks(&self) -> u64 {
        descriptor_blocks(self.groups())
    }

    pub(super) fn inodes(&self) -> u64 {
        self.groups() * u64::from(self.inodes_per_group)
    }

    /// The fewest blocks that the groups can have: metadata fits, and the last group has a block of its own.
    pub(super) fn least_blocks(&self) -> u64 {
        let last = (self.groups() - 1) * GROUP;
        let fixed = self.fixed.last().map_or(0, |range| range.end);
        fixed.max(last + 1)
    }

    /// The runs of fixed blocks that a range has a part of.
    pub(super) fn fixed_near(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let first = self.fixed.partition_point(|fixed| fixed.end <= range.start);
        self.fixed[first..].iter().take_while(|fixed| fixed.start < range.end).cloned()
    }

    /// How many fixed blocks a range has.
    pub(super) fn fixed_in(&self, range: Range<u64>) -> u64 {
        self.fixed_near(&range).map(|fixed| fixed.end.min(range.end) - fixed.start.max(range.start)).sum()
    }

    /// Finds places for the metadata of `count` groups, from the first of them on.
    fn place(&mut self, first: u64, count: u64, supers: &[Range<u64>]) {
        let bitmaps = self.take(first * GROUP, 2 * count, supers);
        let mut at = bitmaps + 2 * count;
        for number in 0..count {
            let inode_table = self.take(at, self.table_blocks(), supers);
            at = inode_table + self.table_blocks();
            let block_bitmap = bitmaps + number;
            self.places.push(Place { block_bitmap, inode_bitmap: block_bitmap + count, inode_table });
        }
    }

    /// Takes blocks in one piece, from `at` on, and gives the first.
    fn take(&mut self, mut at: u64, count: u64, supers: &[Range<u64>]) -> u64 {
        // Nothing else is in the way: all that was taken before lies in front of `at`.
        while let Some(taken) = supers.iter().find(|taken| taken.start < at + count && at < taken.end) {
            at = taken.end;
        }
        self.fixed.push(at..at + count);
        at
    }
}

fn descriptor_blocks(groups: u64) -> u64 {
    (groups * DESCRIPTOR as u64).div_ceil(BLOCK as u64)
}

/// Whether a group begins with a superblock and all descriptors.
pub(super) fn has_superblock(group: u64) -> bool {
    let is_power_of = |base: u64| {
        let powers = std::iter::successors(Some(base), |power| power.checked_mul(base));
        powers.take_while(|power| *power <= group).any(|power| power == group)
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}
