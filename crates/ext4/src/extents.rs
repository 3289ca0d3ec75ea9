//! Maps the blocks of a file to blocks of the file system: extents, and the tree of blocks for those that do not fit
//! the inode.

use std::ops::Range;

use super::checksum::Seed;
use super::format::{BLOCK, MAX_EXTENT};
use super::space::Space;

const MAGIC: u16 = 0xf30a;
/// Bytes of a header, an extent, or a pointer to a block of the level below.
const ENTRY: usize = 12;
/// Number of entries in the inode.
const IN_INODE: usize = 4;
/// Number of entries in a block, between a header and a checksum.
const IN_BLOCK: usize = (BLOCK - ENTRY - 4) / ENTRY;

/// The most blocks of a file, including holes: their numbers have 32 bits.
pub(super) const MAX_FILE_BLOCKS: u64 = u32::MAX as u64;

/// The run of `length` blocks of a file that begins at block `logical` of the file and `physical` of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) logical: u64,
    pub(super) physical: u64,
    pub(super) length: u64,
}

/// The extents of a file.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    /// In ascending order.
    pub(super) extents: Vec<Extent>,
    /// The blocks of the tree, from the level above the extents up to the level below the inode.
    tree: Vec<u64>,
}

impl Mapping {
    /// Allocates blocks for the runs of a file and for its tree.
    pub(super) fn allocate(space: &mut Space<'_>, runs: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut mapping = Self::default();
        for run in runs {
            let mut logical = run.start;
            while logical < run.end {
                let piece = space.allocate((run.end - logical).min(MAX_EXTENT));
                let length = piece.end - piece.start;
                mapping.extents.push(Extent { logical, physical: piece.start, length });
                logical += length;
            }
        }
        let mut entries = mapping.extents.len();
        while entries > IN_INODE {
            entries = entries.div_ceil(IN_BLOCK);
            mapping.tree.extend((0..entries).map(|_| space.allocate_block()));
        }
        mapping
    }

    /// Returns the number of blocks of the file, including those of the tree.
    pub(super) fn blocks(&self) -> u64 {
        self.extents.iter().map(|extent| extent.length).sum::<u64>() + self.tree.len() as u64
    }

    /// Calls `write` for each block of the tree. Returns the `i_block` of the inode.
    pub(super) fn write<E>(
        &self,
        seed: Seed,
        mut write: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<[u8; 60], E> {
        let mut level: Vec<(u64, [u8; ENTRY])> =
            self.extents.iter().map(|extent| (extent.logical, extent.entry())).collect();
        let mut tree = self.tree.iter().copied();
        let mut depth = 0;
        while level.len() > IN_INODE {
            let mut above = Vec::with_capacity(level.len().div_ceil(IN_BLOCK));
            for entries in level.chunks(IN_BLOCK) {
                let at = tree.next().expect("allocate() counted as many blocks");
                let mut block = [0; BLOCK];
                node(&mut block, entries, IN_BLOCK, depth);
                let checksum = seed.with(&block[..BLOCK - 4]).value();
                block[BLOCK - 4..].copy_from_slice(&checksum.to_le_bytes());
                write(at, &block)?;
                above.push((entries[0].0, pointer(entries[0].0, at)));
            }
            level = above;
            depth += 1;
        }
        let mut root = [0; 60];
        node(&mut root, &level, IN_INODE, depth);
        Ok(root)
    }
}

impl Extent {
    /// Serialises a `struct ext4_extent`.
    fn entry(&self) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..4].copy_from_slice(&(self.logical as u32).to_le_bytes());
        entry[4..6].copy_from_slice(&(self.length as u16).to_le_bytes());
        entry[6..8].copy_from_slice(&((self.physical >> 32) as u16).to_le_bytes());
        entry[8..].copy_from_slice(&(self.physical as u32).to_le_bytes());
        entry
    }
}

/// Serialises a `struct ext4_extent_idx`.
fn pointer(logical: u64, block: u64) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..4].copy_from_slice(&(logical as u32).to_le_bytes());
    entry[4..8].copy_from_slice(&(block as u32).to_le_bytes());
    entry[8..10].copy_from_slice(&((block >> 32) as u16).to_le_bytes());
    entry
}

/// Writes a `struct ext4_extent_header` and the entries after it.
fn node(bytes: &mut [u8], entries: &[(u64, [u8; ENTRY])], room: usize, depth: u16) {
    let header = [MAGIC, entries.len() as u16, room as u16, depth];
    for (field, value) in bytes.chunks_exact_mut(2).zip(header) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    for (place, (_, entry)) in bytes[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
        place.copy_from_slice(entry);
    }
}
