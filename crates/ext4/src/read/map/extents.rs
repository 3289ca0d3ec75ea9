//! Extents (kernel documentation, "Extent Tree").

use std::ops::Range;

use super::super::volume::{u16_at, u32_at};
use super::super::{Ext4Reader, Inode, ReadAt, ReadError, ReadResult};
use super::{BlockRun, Leaf, MAX_BLOCKS, Place};
use crate::format::MAX_EXTENT;

const MAGIC: u16 = 0xf30a;
/// Bytes of a header, an extent, or a pointer to a node of the level below.
const ENTRY: usize = 12;
/// The most levels below the root.
const MAX_DEPTH: u16 = 5;

/// Returns the leaf with `block`.
pub(super) fn leaf<R: ReadAt>(reader: &Ext4Reader<R>, inode: &Inode, block: u64) -> ReadResult<Leaf> {
    let mut node = Node::new(inode, inode.block(), 0..MAX_BLOCKS, None)?;
    loop {
        if node.depth == 0 {
            return node.runs(reader);
        }
        let below = match node.below(block)? {
            Below::Node(at, range) => (at, range),
            Below::Hole(range) => return Ok(Leaf { range, runs: Vec::new() }),
        };
        let bytes = reader.read_block(below.0, "an extent tree")?;
        let child = Node::new(inode, &bytes, below.1, Some(node.depth - 1))?;
        if child.entries.is_empty() {
            return Err(child.damaged("has an empty node"));
        }
        child.check(reader, &bytes)?;
        node = child;
    }
}

/// A node of the tree.
struct Node<'i> {
    inode: &'i Inode,
    /// Levels below this one. 0 for a leaf.
    depth: u16,
    /// The blocks of the file that the node describes.
    range: Range<u64>,
    /// The first block of each entry, and its bytes.
    entries: Vec<(u64, [u8; ENTRY])>,
    /// The most entries that have room.
    room: usize,
}

enum Below {
    Node(u64, Range<u64>),
    Hole(Range<u64>),
}

impl<'i> Node<'i> {
    fn new(inode: &'i Inode, bytes: &[u8], range: Range<u64>, depth: Option<u16>) -> ReadResult<Self> {
        let [magic, count, room, own_depth] = [0, 2, 4, 6].map(|offset| u16_at(bytes, offset));
        let mut node = Self { inode, depth: own_depth, range, entries: Vec::new(), room: room.into() };
        if magic != MAGIC || own_depth > MAX_DEPTH || depth.is_some_and(|depth| depth != own_depth) {
            return Err(node.damaged("has a node without a valid header"));
        }
        if count > room || ENTRY * (1 + usize::from(room)) > bytes.len() {
            return Err(node.damaged("has too many entries in a node"));
        }
        let (entries, _) = bytes[ENTRY..].as_chunks::<ENTRY>();
        node.entries.extend(entries.iter().take(count.into()).map(|entry| (u64::from(u32_at(entry, 0)), *entry)));
        let is_sorted = node.entries.is_sorted_by(|(one, _), (next, _)| one < next);
        if !is_sorted || node.entries.iter().any(|(first, _)| !node.range.contains(first)) {
            return Err(node.damaged("has entries that are not in order"));
        }
        Ok(node)
    }

    fn damaged(&self, what: &str) -> ReadError {
        ReadError::damaged(format!("the extent tree of inode {} {what}", self.inode.number()))
    }

    /// Verifies the checksum after the room for entries.
    fn check<R: ReadAt>(&self, reader: &Ext4Reader<R>, bytes: &[u8]) -> ReadResult<()> {
        let Some(seed) = reader.volume.seed else { return Ok(()) };
        let at = ENTRY * (1 + self.room);
        if at + 4 > bytes.len() {
            return Err(self.damaged("has no checksum"));
        }
        match self.inode.seed(seed).with(&bytes[..at]).value() == u32_at(bytes, at) {
            true => Ok(()),
            false => Err(self.damaged("has a wrong checksum")),
        }
    }

    /// Returns the node below with `block`, and its range.
    fn below(&self, block: u64) -> ReadResult<Below> {
        let next = self.entries.partition_point(|(first, _)| *first <= block);
        let end = self.entries.get(next).map_or(self.range.end, |(first, _)| *first);
        let Some((start, entry)) = next.checked_sub(1).map(|index| &self.entries[index]) else {
            return Ok(Below::Hole(self.range.start..end));
        };
        let at = u64::from(u32_at(entry, 4)) | u64::from(u16_at(entry, 8)) << 32;
        Ok(Below::Node(at, *start..end))
    }

    /// Decodes the extents of a leaf.
    fn runs<R: ReadAt>(&self, reader: &Ext4Reader<R>) -> ReadResult<Leaf> {
        let mut runs: Vec<BlockRun> = Vec::with_capacity(self.entries.len());
        for (first, entry) in &self.entries {
            let length = u64::from(u16_at(entry, 4));
            // Blocks that were never written have lengths above the most.
            let (count, is_written) = if length > MAX_EXTENT { (length - MAX_EXTENT, false) } else { (length, true) };
            let start = u64::from(u32_at(entry, 8)) | u64::from(u16_at(entry, 6)) << 32;
            let previous = runs.last().map_or(0, BlockRun::end);
            if count == 0 || *first < previous || first + count > MAX_BLOCKS {
                return Err(self.damaged("has an invalid extent"));
            }
            reader.volume.check_blocks(start, count, "a file")?;
            let place = if is_written { Place::Blocks(start) } else { Place::Zeros };
            runs.push(BlockRun { first: *first, count, place });
        }
        if runs.last().is_some_and(|run| run.end() > self.range.end) {
            return Err(self.damaged("has an extent that belongs to two nodes"));
        }
        Ok(Leaf { range: self.range.clone(), runs })
    }
}
