//! The hash tree of a directory (`dir_index`; kernel documentation, "Hash Tree Directories").
//!
//! The first block is the root. The leaf blocks hold the entries in the order of their names' hashes. They lie directly
//! below the root or below one level of index blocks.

use std::ops::Range;

use vmroot_container_fs::{DirEntry, InodeKind};

use super::checksum::Seed;
use super::entry::{ROOM, entry_header, length_of};
use super::format::BLOCK;
use super::hash::{NameHash, NameHasher};

/// Bytes of an index entry.
const ENTRY: usize = 8;
/// Offset of the root's entries, after `.`, `..` and `dx_root_info`.
const ROOT_START: usize = 32;
/// Offset of the entries of other index blocks, after a directory entry without a name.
const NODE_START: usize = 8;
/// Number of entries of the root, before the checksum.
const ROOT_ENTRIES: usize = (BLOCK - ROOT_START - ENTRY) / ENTRY;
/// Number of entries of other index blocks.
const NODE_ENTRIES: usize = (BLOCK - NODE_START - ENTRY) / ENTRY;
/// The number of the hash function in `dx_root_info`.
pub(super) const HALF_MD4: u8 = 1;

/// The most leaf blocks. A third level would need the feature `large_dir`, which is rarely enabled.
pub(super) const MAX_LEAVES: usize = ROOT_ENTRIES * NODE_ENTRIES;

/// The directory needs more leaf blocks than an index can have.
#[derive(Debug)]
pub(super) struct TooManyEntries;

/// The index of a directory.
pub(super) struct Index {
    /// The hashes of all entries and their positions in the directory, sorted.
    order: Vec<(NameHash, u32)>,
    /// Index in `order` of the first entry of each leaf block.
    leaves: Vec<u32>,
}

/// The smallest hash in the subtree of an index entry, and its block.
type Pointer = (u32, u32);

impl Index {
    pub(super) fn new<'a>(
        entries: impl Iterator<Item = DirEntry<'a>>,
        hasher: &NameHasher,
    ) -> Result<Self, TooManyEntries> {
        let mut lengths = Vec::new();
        let mut order = Vec::new();
        for (position, entry) in entries.enumerate() {
            order.push((hasher.hash(entry.name), position as u32));
            lengths.push(length_of(entry.name) as u16);
        }
        order.sort_unstable();
        let mut leaves = vec![0];
        let mut filled = 0;
        for (number, (_, position)) in order.iter().enumerate() {
            let length = usize::from(lengths[*position as usize]);
            if filled + length > ROOM {
                leaves.push(number as u32);
                filled = 0;
            }
            filled += length;
        }
        if leaves.len() > MAX_LEAVES { Err(TooManyEntries) } else { Ok(Self { order, leaves }) }
    }

    /// Returns the number of index and leaf blocks.
    pub(super) fn blocks(&self) -> u64 {
        (1 + self.nodes() + self.leaves.len()) as u64
    }

    /// Returns the positions of the entries of each leaf block.
    pub(super) fn leaves(&self) -> impl Iterator<Item = impl Iterator<Item = u32>> {
        let ends = self.leaves.iter().skip(1).copied().chain([self.order.len() as u32]);
        let ranges =
            self.leaves.iter().zip(ends).map(|(&start, end)| Range { start: start as usize, end: end as usize });
        ranges.map(|range| self.order[range].iter().map(|(_, position)| *position))
    }

    /// Writes the index blocks, which come before the leaf blocks.
    pub(super) fn write_index<E>(
        &self,
        directory: u32,
        parent: u32,
        seed: Seed,
        write: &mut impl FnMut(&[u8; BLOCK]) -> Result<(), E>,
    ) -> Result<(), E> {
        let nodes = self.nodes();
        let leaves: Vec<Pointer> =
            (0..self.leaves.len()).map(|leaf| (self.smallest_hash(leaf), (1 + nodes + leaf) as u32)).collect();
        let below: Vec<Pointer> = match nodes {
            0 => leaves.clone(),
            _ => leaves.chunks(NODE_ENTRIES).zip(1..).map(|(chunk, block)| (chunk[0].0, block)).collect(),
        };
        let mut block = [0; BLOCK];
        let header = |inode, length, name| entry_header(inode, length, name, InodeKind::Directory);
        block[..8].copy_from_slice(&header(directory, 12, 1));
        block[8] = b'.';
        block[12..20].copy_from_slice(&header(parent, BLOCK - 12, 2));
        block[20..22].copy_from_slice(b"..");
        block[24..ROOT_START].copy_from_slice(&[0, 0, 0, 0, HALF_MD4, 8, u8::from(nodes > 0), 0]);
        finish(&mut block, ROOT_START, &below, seed);
        write(&block)?;
        for chunk in leaves.chunks(NODE_ENTRIES).take(nodes) {
            let mut block = [0; BLOCK];
            block[4..6].copy_from_slice(&(BLOCK as u16).to_le_bytes());
            finish(&mut block, NODE_START, chunk, seed);
            write(&block)?;
        }
        Ok(())
    }

    /// Returns the number of index blocks between the root and the leaf blocks.
    fn nodes(&self) -> usize {
        if self.leaves.len() <= ROOT_ENTRIES { 0 } else { self.leaves.len().div_ceil(NODE_ENTRIES) }
    }

    /// Returns the smallest hash of a leaf block. Its lowest bit is set if the leaf before it contains the same hash.
    fn smallest_hash(&self, leaf: usize) -> u32 {
        let first = self.leaves[leaf] as usize;
        let major = self.order[first].0.major;
        let continues = first > 0 && self.order[first - 1].0.major == major;
        major | u32::from(continues)
    }
}

/// Writes the entries from `start` on and the checksum (`struct dx_tail`).
fn finish(block: &mut [u8; BLOCK], start: usize, entries: &[Pointer], seed: Seed) {
    for ((hash, below), place) in entries.iter().zip(block[start..].chunks_exact_mut(ENTRY)) {
        place[..4].copy_from_slice(&hash.to_le_bytes());
        place[4..].copy_from_slice(&below.to_le_bytes());
    }
    // The first entry covers all hashes below the second. Instead of a hash it has the limit and the number of entries.
    let limit = (BLOCK - start - ENTRY) / ENTRY;
    block[start..start + 2].copy_from_slice(&(limit as u16).to_le_bytes());
    block[start + 2..start + 4].copy_from_slice(&(entries.len() as u16).to_le_bytes());
    let checksum = seed.with(&block[..start + ENTRY * entries.len()]).with(&[0; ENTRY]).value();
    block[BLOCK - 4..].copy_from_slice(&checksum.to_le_bytes());
}
