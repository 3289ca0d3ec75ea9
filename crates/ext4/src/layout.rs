//! Chooses the size of the file system and places everything in it.

use std::iter;
use std::ops::Range;

use super::content::{Content, too_large};
use super::extents::Mapping;
use super::format::{BLOCK, GROUP, INODES_PER_BLOCK};
use super::geometry::Geometry;
use super::space::Space;
use super::{Ext4Options, journal};
use crate::{Error, Result};

/// The fewest inodes of a group (128 KiB), so that a file system made for a few files can be grown and filled.
const MIN_INODES: u64 = 512;
/// The most inodes of a group: one bit each in a bitmap of one block.
const MAX_INODES: u64 = 8 * BLOCK as u64;
/// Free blocks for each additional inode: 16 KiB, as in mke2fs.
const BLOCKS_PER_INODE: u64 = 4;
/// The most blocks: 16 TiB. More would need descriptors elsewhere (`meta_bg`).
const MAX_BLOCKS: u64 = 1 << 32;

/// The geometry of a file system and the places of its contents.
pub(super) struct Layout {
    pub(super) geometry: Geometry,
    pub(super) placement: Placement,
    /// Number of blocks of the file system.
    pub(super) blocks: u64,
}

/// The positions in [`Space`] at which the allocation of each object began.
pub(super) struct Placement {
    /// Number of blocks of the journal, and its position.
    pub(super) journal: Option<(u64, u64)>,
    /// Indexed by inode.
    pub(super) inodes: Vec<u64>,
    /// Indexed by the number of the xattr block, and of the external xattr value.
    pub(super) xattr_blocks: Vec<u64>,
    pub(super) values: Vec<u64>,
    /// The end of the allocated blocks.
    pub(super) end: u64,
}

/// Chooses the size and the places.
///
/// # Errors
/// - [`Error::TooSmall`]: the content does not fit into `options.size`.
/// - [`Error::TooLarge`]: there are too many blocks or inodes for ext4.
pub(super) fn choose(content: &Content<'_>, options: &Ext4Options<'_>) -> Result<Layout> {
    let requirements = Requirements { content, journal: options.journal, free: options.free.div_ceil(BLOCK as u64) };
    let Some(size) = options.size else { return requirements.smallest() };
    if let Some(layout) = requirements.of_size(size / BLOCK as u64)? {
        return Ok(layout);
    }
    let needed = requirements.smallest()?.blocks * BLOCK as u64;
    Err(Error::TooSmall { size, needed })
}

impl Layout {
    /// Returns the number of used blocks.
    pub(super) fn used(&self) -> u64 {
        used(&self.geometry, self.placement.end, self.blocks)
    }

    /// Returns the number of free blocks.
    pub(super) fn free(&self) -> u64 {
        self.blocks - self.used()
    }
}

/// The content and the free room that the file system must have.
struct Requirements<'c> {
    content: &'c Content<'c>,
    journal: bool,
    /// Number of blocks that must stay writable for users.
    free: u64,
}

impl Requirements<'_> {
    /// Returns the smallest layout.
    fn smallest(&self) -> Result<Layout> {
        let inodes = self.content.last_inode() + self.free / BLOCKS_PER_INODE;
        let least = self.content.min_blocks() + self.free;
        let mut groups = least.div_ceil(GROUP).max(inodes.div_ceil(MAX_INODES)).max(1);
        let mut journal = self.journal_blocks(least);
        loop {
            if groups > MAX_BLOCKS / GROUP {
                return Err(too_large(format!("at least {least} blocks, the limit is {MAX_BLOCKS}")));
            }
            let geometry = Geometry::new(groups, inodes_per_group(inodes, groups)?);
            let placement = place(self.content, &geometry, journal);
            let blocks = self.blocks(&geometry, placement.end);
            let larger_journal = self.journal_blocks(blocks);
            if larger_journal > journal {
                journal = larger_journal;
            } else if blocks > groups * GROUP {
                groups = blocks.div_ceil(GROUP).max(groups + 1);
            } else {
                return Ok(Layout { geometry, placement, blocks });
            }
        }
    }

    /// Returns the layout of a file system of this many blocks; `None` if it is too small.
    fn of_size(&self, blocks: u64) -> Result<Option<Layout>> {
        if blocks > MAX_BLOCKS {
            return Err(too_large(format!("{blocks} blocks, the limit is {MAX_BLOCKS}")));
        }
        let inodes = self.content.last_inode();
        let Some(minimal) = self.of_size_with(blocks, inodes)? else { return Ok(None) };
        // An additional inode takes a part of the free room that it is for.
        let per_inode = BLOCKS_PER_INODE * u64::from(INODES_PER_BLOCK) + 1;
        let more = minimal.free() * u64::from(INODES_PER_BLOCK) / per_inode;
        let with_more = self.of_size_with(blocks, inodes + more)?;
        Ok(Some(with_more.unwrap_or(minimal)))
    }

    fn of_size_with(&self, blocks: u64, inodes: u64) -> Result<Option<Layout>> {
        let mut groups = blocks.div_ceil(GROUP);
        while groups > 0 && inodes.div_ceil(groups) <= MAX_INODES {
            let geometry = Geometry::new(groups, inodes_per_group(inodes, groups)?);
            let blocks = blocks.min(groups * GROUP);
            if blocks < geometry.min_blocks() {
                // The last group is too small even for its own metadata, so it is left out.
                groups -= 1;
                continue;
            }
            let placement = place(self.content, &geometry, self.journal_blocks(blocks));
            let fits = self.blocks(&geometry, placement.end) <= blocks;
            return Ok(fits.then_some(Layout { geometry, placement, blocks }));
        }
        Ok(None)
    }

    fn journal_blocks(&self, blocks: u64) -> u64 {
        if self.journal { journal::blocks_for(blocks) } else { 0 }
    }

    /// Returns the number of blocks for everything and for the free room after `end`. The result can exceed the groups.
    fn blocks(&self, geometry: &Geometry, end: u64) -> u64 {
        let least = geometry.min_blocks().max(end);
        if self.free == 0 {
            return least;
        }
        let mut blocks = least;
        loop {
            let free = blocks - used(geometry, end, blocks);
            let wanted = self.free + reserved_by_kernel(blocks);
            if free >= wanted {
                return blocks;
            }
            blocks += wanted - free;
        }
    }
}

/// Returns the blocks that the kernel reserves while the file system is mounted (`ext4_set_resv_clusters`). `df` does
/// not show them as free.
fn reserved_by_kernel(blocks: u64) -> u64 {
    (blocks / 50).min(4096)
}

fn used(geometry: &Geometry, end: u64, blocks: u64) -> u64 {
    end + geometry.fixed_in(end..blocks)
}

fn inodes_per_group(inodes: u64, groups: u64) -> Result<u32> {
    if inodes > u64::from(u32::MAX) {
        return Err(too_large(format!("{inodes} inodes, the limit is {}", u32::MAX)));
    }
    let inodes = inodes.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK.into());
    Ok(inodes.clamp(MIN_INODES, MAX_INODES) as u32)
}

/// Allocates blocks for everything. Small objects come first, so that they lie together. File contents follow in the
/// order of the contents files, so that long runs can be moved at once.
fn place(content: &Content<'_>, geometry: &Geometry, journal: u64) -> Placement {
    let mut space = Space::at(geometry, 0);
    let mut inodes = vec![0; content.fs.inode_count() as usize];
    let journal = (journal > 0).then(|| (journal, allocate(&mut space, iter::once(0..journal))));
    for &(ino, blocks) in &content.small {
        inodes[ino.0 as usize] = allocate(&mut space, iter::once(0..blocks));
    }
    let xattr_blocks = content.xattr_blocks.iter().map(|_| allocate(&mut space, iter::once(0..1))).collect();
    let value_blocks = content.values.iter().map(|length| length.div_ceil(BLOCK as u64));
    let values = value_blocks.map(|blocks| allocate(&mut space, iter::once(0..blocks))).collect();
    for &(ino, extent) in &content.files {
        inodes[ino.0 as usize] = allocate(&mut space, content.data_runs(ino, extent).iter().cloned());
    }
    Placement { journal, inodes, xattr_blocks, values, end: space.position() }
}

/// Allocates blocks for the runs of a file. Returns the position at which the allocation began.
fn allocate(space: &mut Space<'_>, runs: impl Iterator<Item = Range<u64>>) -> u64 {
    let start = space.position();
    Mapping::allocate(space, runs);
    start
}
