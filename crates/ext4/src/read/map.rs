//! The blocks of a file: extents, or the block map of ext2 and ext3.
//!
//! Both are trees. A [`Mapper`] keeps only the leaf that was used last, so a file of any size needs little memory. The
//! depth of a tree is bounded, and the blocks below a node must lie in the node's range, so no cycle is followed.

mod block_map;
mod extents;

use std::ops::Range;

use super::features::inode_flags;
use super::{Ext4Reader, Inode, ReadAt, ReadResult};

/// The most blocks of a file: their numbers have 32 bits.
pub(super) const MAX_BLOCKS: u64 = 1 << 32;

/// The place of a run of blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A hole, or blocks that were allocated and never written. They read as zeros.
    Zeros,
    /// Blocks of the file system, from this one on.
    Blocks(u64),
}

/// Consecutive blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRun {
    /// The first block, counted from the start of the file.
    pub(crate) first: u64,
    /// Number of blocks. Not 0.
    pub(crate) count: u64,
    pub(crate) place: Place,
}

impl BlockRun {
    pub(crate) fn end(&self) -> u64 {
        self.first + self.count
    }

    /// Returns the parts before and after the blocks of `other`.
    pub(crate) fn without(&self, other: &Self) -> impl Iterator<Item = Self> + use<> {
        let count = other.first.saturating_sub(self.first).min(self.count);
        let before = Self { count, ..*self };
        let after = (other.end() < self.end()).then(|| self.after(other.end().max(self.first)));
        [Some(before).filter(|run| run.count > 0), after].into_iter().flatten()
    }

    /// Returns the part from block `from` on, which is in the run.
    fn after(&self, from: u64) -> Self {
        let skipped = from - self.first;
        let place = match self.place {
            Place::Zeros => Place::Zeros,
            Place::Blocks(first) => Place::Blocks(first + skipped),
        };
        Self { first: from, count: self.count - skipped, place }
    }
}

/// The runs of a range of blocks of a file. Blocks in no run are holes.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) range: Range<u64>,
    /// In ascending order.
    pub(super) runs: Vec<BlockRun>,
}

/// Finds the blocks of an inode.
#[derive(Debug, Default)]
pub(crate) struct Mapper {
    last: Option<Leaf>,
}

impl Mapper {
    /// Returns the run that begins at `block`, which is below 2^32.
    pub(crate) fn run_at<R: ReadAt>(
        &mut self,
        reader: &Ext4Reader<R>,
        inode: &Inode,
        block: u64,
    ) -> ReadResult<BlockRun> {
        if !self.last.as_ref().is_some_and(|leaf| leaf.range.contains(&block)) {
            self.last = None;
            let leaf = match reader.fast.runs(inode.number()) {
                Some(runs) => Leaf { range: 0..MAX_BLOCKS, runs: runs.to_vec() },
                None => reader.leaf(inode, block)?,
            };
            self.last = Some(leaf);
        }
        let leaf = self.last.as_ref().expect("it was read above");
        let next = leaf.runs.partition_point(|run| run.end() <= block);
        Ok(match leaf.runs.get(next) {
            Some(run) if run.first <= block => run.after(block),
            run => {
                let end = run.map_or(leaf.range.end, |run| run.first);
                BlockRun { first: block, count: end - block, place: Place::Zeros }
            }
        })
    }
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Returns a leaf of the inode's map whose range has `block`.
    fn leaf(&self, inode: &Inode, block: u64) -> ReadResult<Leaf> {
        match inode.has_flag(inode_flags::EXTENTS) {
            true => extents::leaf(self, inode, block),
            false => block_map::leaf(self, inode, block),
        }
    }

    /// Returns all runs of an inode up to block `end`, without holes, if they are at most `limit`.
    pub(crate) fn runs(&self, inode: &Inode, end: u64, limit: usize) -> ReadResult<Option<Vec<BlockRun>>> {
        let mut mapper = Mapper::default();
        let (mut runs, mut block) = (Vec::new(), 0);
        while block < end.min(MAX_BLOCKS) {
            let run = mapper.run_at(self, inode, block)?;
            block = run.end();
            if run.place != Place::Zeros {
                runs.push(run);
            }
            if runs.len() > limit {
                return Ok(None);
            }
        }
        Ok(Some(runs))
    }
}
