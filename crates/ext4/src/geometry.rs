//! The places of groups and of their metadata.
//!
//! Sixteen groups keep their bitmaps and inode tables together (`flex_bg`), so that file contents lie in one piece
//! between two such places. The copies of the superblock are where `sparse_super` puts them: in groups 0, 1 and the
//! powers of 3, 5 and 7.

use std::ops::Range;

use super::format::{BLOCK, DESCRIPTOR, GROUP, INODES_PER_BLOCK};

/// Number of groups that keep their metadata together, as a power of two. mke2fs uses the same.
pub(super) const LOG_GROUPS_PER_FLEX: u8 = 4;

/// The groups, their inodes, and the places of their metadata.
pub(super) struct Geometry {
    /// Number of inodes of each group.
    pub(super) inodes_per_group: u32,
    /// The metadata of each group.
    pub(super) places: Vec<GroupPlace>,
    /// The blocks of superblocks and group metadata: ascending, disjoint ranges.
    pub(super) fixed: Vec<Range<u64>>,
}

/// The blocks that hold the metadata of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupPlace {
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

    /// Returns the number of blocks of an inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        u64::from(self.inodes_per_group / INODES_PER_BLOCK)
    }

    /// Returns the number of blocks of all group descriptors.
    pub(super) fn descriptor_blocks(&self) -> u64 {
        descriptor_blocks(self.groups())
    }

    pub(super) fn inodes(&self) -> u64 {
        self.groups() * u64::from(self.inodes_per_group)
    }

    /// Returns the fewest blocks that the file system can have: all metadata fits, and the last group has at least one
    /// block.
    pub(super) fn min_blocks(&self) -> u64 {
        let last = (self.groups() - 1) * GROUP;
        let fixed = self.fixed.last().map_or(0, |range| range.end);
        fixed.max(last + 1)
    }

    /// Returns the fixed ranges that overlap a range.
    pub(super) fn fixed_overlapping(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let first = self.fixed.partition_point(|fixed| fixed.end <= range.start);
        self.fixed[first..].iter().take_while(|fixed| fixed.start < range.end).cloned()
    }

    /// Returns the number of fixed blocks in a range.
    pub(super) fn fixed_in(&self, range: Range<u64>) -> u64 {
        self.fixed_overlapping(&range).map(|fixed| fixed.end.min(range.end) - fixed.start.max(range.start)).sum()
    }

    /// Places the metadata of `count` groups, in the first of these groups or after it.
    fn place(&mut self, first: u64, count: u64, supers: &[Range<u64>]) {
        let bitmaps = self.allocate(first * GROUP, 2 * count, supers);
        let mut at = bitmaps + 2 * count;
        for number in 0..count {
            let inode_table = self.allocate(at, self.table_blocks(), supers);
            at = inode_table + self.table_blocks();
            let block_bitmap = bitmaps + number;
            self.places.push(GroupPlace { block_bitmap, inode_bitmap: block_bitmap + count, inode_table });
        }
    }

    /// Allocates consecutive blocks at or after `at`. Returns the first.
    fn allocate(&mut self, mut at: u64, count: u64, supers: &[Range<u64>]) -> u64 {
        // Only superblocks can be in the way: everything else was allocated before `at`.
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

/// Returns whether a group begins with a superblock and all descriptors.
pub(super) fn has_superblock(group: u64) -> bool {
    let is_power_of = |base: u64| {
        let powers = std::iter::successors(Some(base), |power| power.checked_mul(base));
        powers.take_while(|power| *power <= group).any(|power| power == group)
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}
