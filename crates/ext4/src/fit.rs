//! How large the file system is, and where everything goes in it.

use std::iter;
use std::ops::Range;

use super::content::{Content, too_large};
use super::extents::Mapping;
use super::format::{BLOCK, GROUP, INODES_PER_BLOCK};
use super::geometry::Geometry;
use super::space::Space;
use super::{Ext4Options, journal};
use crate::{Error, Result};

/// Inodes that a group has at least, so that a file system made for a few files can be grown and filled: 128 KiB.
const LEAST_INODES: u64 = 512;
/// Inodes that a group can have: as many as a block of bitmap has bits.
const MOST_INODES: u64 = 8 * BLOCK as u64;
/// Blocks of free room that one more inode is made for: 16 KiB, as mke2fs has it.
const BLOCKS_PER_INODE: u64 = 4;
/// The most blocks: 16 TiB. More would need descriptors elsewhere (`meta_bg`).
const MOST_BLOCKS: u64 = 1 << 32;

/// Where everything is.
pub(super) struct Fit {
    pub(super) geometry: Geometry,
    pub(super) placement: Placement,
    /// Blocks of the file system.
    pub(super) blocks: u64,
}

/// Where the taking of blocks began for each thing that has any.
pub(super) struct Placement {
    /// Blocks of the journal, and where it is.
    pub(super) journal: Option<(u64, u64)>,
    /// For each inode.
    pub(super) inodes: Vec<u64>,
    /// For each block of xattrs, and each value of one that is apart.
    pub(super) xattr_blocks: Vec<u64>,
    pub(super) values: Vec<u64>,
    /// All blocks below are taken.
    pub(super) end: u64,
}

/// Finds the size and the places.
pub(super) fn fit(content: &Content<'_>, options: &Ext4Options<'_>) -> Result<Fit> {
    let room = Room { content, journal: options.journal, free: options.free.div_ceil(BLOCK as u64) };
    let Some(size) = options.size else { return room.smallest() };
    if let Some(fit) = room.of_size(size / BLOCK as u64)? {
        return Ok(fit);
    }
    let needed = room.smallest()?.blocks * BLOCK as u64;
    Err(Error::TooSmall { size, needed })
}

impl Fit {
    /// Blocks that are taken.
    pub(super) fn used(&self) -> u64 {
        used(&self.geometry, self.placement.end, self.blocks)
    }

    /// Blocks that are not.
    pub(super) fn free(&self) -> u64 {
        self.blocks - self.used()
    }
}

/// What has to find room.
struct Room<'c> {
    content: &'c Content<'c>,
    journal: bool,
    /// Blocks that somebody wants to write.
    free: u64,
}

impl Room<'_> {
    /// The smallest file system.
    fn smallest(&self) -> Result<Fit> {
        let inodes = self.content.last_inode() + self.free / BLOCKS_PER_INODE;
        let least = self.content.least_blocks() + self.free;
        let mut groups = least.div_ceil(GROUP).max(inodes.div_ceil(MOST_INODES)).max(1);
        let mut journal = self.journal_blocks(least);
        loop {
            if groups > MOST_BLOCKS / GROUP {
                return Err(too_large(format!("{least} blocks and more, not the {MOST_BLOCKS} that there can be")));
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
                return Ok(Fit { geometry, placement, blocks });
            }
        }
    }

    /// A file system of this many blocks, if it has room.
    fn of_size(&self, blocks: u64) -> Result<Option<Fit>> {
        if blocks > MOST_BLOCKS {
            return Err(too_large(format!("{blocks} blocks, not the {MOST_BLOCKS} that there can be")));
        }
        let inodes = self.content.last_inode();
        let Some(tight) = self.of_size_with(blocks, inodes)? else { return Ok(None) };
        // Each of these inodes takes a part of the room that it is for.
        let per_inode = BLOCKS_PER_INODE * u64::from(INODES_PER_BLOCK) + 1;
        let more = tight.free() * u64::from(INODES_PER_BLOCK) / per_inode;
        let roomy = self.of_size_with(blocks, inodes + more)?;
        Ok(Some(roomy.unwrap_or(tight)))
    }

    fn of_size_with(&self, blocks: u64, inodes: u64) -> Result<Option<Fit>> {
        let mut groups = blocks.div_ceil(GROUP);
        while groups > 0 && inodes.div_ceil(groups) <= MOST_INODES {
            let geometry = Geometry::new(groups, inodes_per_group(inodes, groups)?);
            let blocks = blocks.min(groups * GROUP);
            if blocks < geometry.least_blocks() {
                // The last group is too small even for what it begins with: it is left out.
                groups -= 1;
                continue;
            }
            let placement = place(self.content, &geometry, self.journal_blocks(blocks));
            let fits = self.blocks(&geometry, placement.end) <= blocks;
            return Ok(fits.then_some(Fit { geometry, placement, blocks }));
        }
        Ok(None)
    }

    fn journal_blocks(&self, blocks: u64) -> u64 {
        if self.journal { journal::blocks_for(blocks) } else { 0 }
    }

    /// How many blocks it takes for everything and the free room behind `end`. More than the groups have are free.
    fn blocks(&self, geometry: &Geometry, end: u64) -> u64 {
        let least = geometry.least_blocks().max(end);
        if self.free == 0 {
            return least;
        }
        let mut blocks = least;
        loop {
            let free = blocks - used(geometry, end, blocks);
            let wanted = self.free + kept_by_kernel(blocks);
            if free >= wanted {
                return blocks;
            }
            blocks += wanted - free;
        }
    }
}

/// Blocks that the kernel keeps for itself while it is mounted (`ext4_set_resv_clusters`); df does not show them.
fn kept_by_kernel(blocks: u64) -> u64 {
    (blocks / 50).min(4096)
}

fn used(geometry: &Geometry, end: u64, blocks: u64) -> u64 {
    end + geometry.fixed_in(end..blocks)
}

fn inodes_per_group(inodes: u64, groups: u64) -> Result<u32> {
    if inodes > u64::from(u32::MAX) {
        return Err(too_large(format!("{inodes} inodes, not the {} that there can be", u32::MAX)));
    }
    let inodes = inodes.div_ceil(groups).next_multiple_of(INODES_PER_BLOCK.into());
    Ok(inodes.clamp(LEAST_INODES, MOST_INODES) as u32)
}

/// Takes blocks for everything: what is small first, so that it lies together, then the contents of files in the order
/// in which they lie, so that many can be moved at once.
fn place(content: &Content<'_>, geometry: &Geometry, journal: u64) -> Placement {
    let mut space = Space::at(geometry, 0);
    let mut inodes = vec![0; content.fs.inode_count() as usize];
    let journal = (journal > 0).then(|| (journal, take(&mut space, iter::once(0..journal))));
    for &(ino, blocks) in &content.small {
        inodes[ino.0 as usize] = take(&mut space, iter::once(0..blocks));
    }
    let xattr_blocks = content.xattr_blocks.iter().map(|_| take(&mut space, iter::once(0..1))).collect();
    let value_blocks = content.values.iter().map(|length| length.div_ceil(BLOCK as u64));
    let values = value_blocks.map(|blocks| take(&mut space, iter::once(0..blocks))).collect();
    for &(ino, extent) in &content.files {
        inodes[ino.0 as usize] = take(&mut space, content.data_runs(ino, extent).iter().cloned());
    }
    Placement { journal, inodes, xattr_blocks, values, end: space.position() }
}

/// Takes blocks for runs of a file, and gives where the taking began.
fn take(space: &mut Space<'_>, runs: impl Iterator<Item = Range<u64>>) -> u64 {
    let start = space.position();
    Mapping::take(space, runs);
    start
}
