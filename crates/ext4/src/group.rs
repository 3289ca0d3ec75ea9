//! Group descriptors and bitmaps.
//!
//! A group without used blocks or inodes has no bitmap (`BLOCK_UNINIT`, `INODE_UNINIT`). The kernel creates it on
//! demand, so empty room costs nothing.
//!
//! Inode tables are marked as zeroed, because their unused parts are holes. Otherwise the kernel would write zeros to
//! all of them after mounting.

use std::ops::Range;

use vmroot_container_fs::InodeKind;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::checksum::Seed;
use super::content::Content;
use super::format::{BLOCK, GROUP, GroupRecord, group_flags};
use super::geometry::{Geometry, GroupPlace, has_superblock};
use super::inode::number_of;
use super::layout::Layout;
use super::output::Output;
use crate::Result;

/// The blocks and inodes in use.
pub(super) struct Usage<'u> {
    pub(super) geometry: &'u Geometry,
    /// Number of blocks of the file system.
    pub(super) blocks: u64,
    /// All blocks before this one are used.
    pub(super) end: u64,
    /// All inodes up to this one are used or reserved.
    pub(super) last_inode: u64,
    /// Number of directories in each of the first groups. The others have none.
    pub(super) directories: Vec<u32>,
}

impl<'u> Usage<'u> {
    /// Returns the blocks and inodes that a root uses.
    pub(super) fn of(content: &Content<'_>, layout: &'u Layout) -> Self {
        Self {
            geometry: &layout.geometry,
            blocks: layout.blocks,
            end: layout.placement.end,
            last_inode: content.last_inode(),
            directories: count_directories(content, &layout.geometry),
        }
    }

    /// Returns the number of free blocks.
    pub(super) fn free_blocks(&self) -> u64 {
        self.blocks - self.end - self.geometry.fixed_in(self.end..self.blocks)
    }
}

/// Writes the bitmaps of all groups. Returns the group descriptors.
pub(super) fn write_groups(usage: &Usage<'_>, seed: Seed, output: &mut Output<'_>) -> Result<Vec<u8>> {
    let mut descriptors = Vec::new();
    for (number, place) in (0..).zip(&usage.geometry.places) {
        let group = Group { usage, number, seed };
        let mut record = GroupRecord::new_zeroed();
        place.describe(&mut record);
        let directories = usage.directories.get(number as usize).copied().unwrap_or_default();
        set_halves(&mut record.used_directories_lo, &mut record.used_directories_hi, directories);
        if let Some(bitmap) = group.block_bitmap(&mut record) {
            output.write_block(place.block_bitmap, &bitmap[..])?;
        }
        if let Some(bitmap) = group.inode_bitmap(&mut record) {
            output.write_block(place.inode_bitmap, &bitmap[..])?;
        }
        record.checksum = record.checksum_of(number as u32, seed);
        descriptors.extend_from_slice(record.as_bytes());
    }
    Ok(descriptors)
}

/// Returns the number of directories in each group.
fn count_directories(content: &Content<'_>, geometry: &Geometry) -> Vec<u32> {
    let mut counts = vec![0; geometry.places.len()];
    for ino in content.fs.inodes().filter(|&ino| content.fs.stat(ino).kind == InodeKind::Directory) {
        counts[((number_of(ino) - 1) / geometry.inodes_per_group) as usize] += 1;
    }
    counts
}

impl GroupRecord {
    /// Returns the checksum of the descriptor of a group, whose own field is 0 meanwhile.
    fn checksum_of(&self, group: u32, seed: Seed) -> U16 {
        (seed.with(&group.to_le_bytes()).with(self.as_bytes()).value() as u16).into()
    }
}

impl GroupPlace {
    /// Returns the places that a descriptor has.
    pub(super) fn of(record: &GroupRecord) -> Self {
        let join = |lo: U32, hi: U32| u64::from(lo.get()) | u64::from(hi.get()) << 32;
        Self {
            block_bitmap: join(record.block_bitmap_lo, record.block_bitmap_hi),
            inode_bitmap: join(record.inode_bitmap_lo, record.inode_bitmap_hi),
            inode_table: join(record.inode_table_lo, record.inode_table_hi),
        }
    }

    pub(super) fn describe(&self, record: &mut GroupRecord) {
        let split = |lo: &mut U32, hi: &mut U32, block: u64| {
            (*lo, *hi) = ((block as u32).into(), ((block >> 32) as u32).into())
        };
        split(&mut record.block_bitmap_lo, &mut record.block_bitmap_hi, self.block_bitmap);
        split(&mut record.inode_bitmap_lo, &mut record.inode_bitmap_hi, self.inode_bitmap);
        split(&mut record.inode_table_lo, &mut record.inode_table_hi, self.inode_table);
    }
}

fn set_halves(lo: &mut U16, hi: &mut U16, value: u32) {
    (*lo, *hi) = ((value as u16).into(), ((value >> 16) as u16).into());
}

struct Group<'f> {
    usage: &'f Usage<'f>,
    number: u64,
    seed: Seed,
}

impl Group<'_> {
    /// Sets the number of free blocks. Returns the block bitmap, unless the group has nothing but a copy of the
    /// superblock.
    fn block_bitmap(&self, record: &mut GroupRecord) -> Option<Box<[u8; BLOCK]>> {
        let geometry = self.usage.geometry;
        let range = self.number * GROUP..((self.number + 1) * GROUP).min(self.usage.blocks);
        let files = range.start..self.usage.end.clamp(range.start, range.end);
        let used = files.end - files.start + geometry.fixed_in(files.end..range.end);
        let free = range.end - range.start - used;
        set_halves(&mut record.free_blocks_lo, &mut record.free_blocks_hi, free as u32);

        let copy = if has_superblock(self.number) { 1 + geometry.descriptor_blocks() } else { 0 };
        // The last group can be short, and the kernel does not create a bitmap for a short group.
        let last = self.number + 1 == geometry.groups();
        if files.is_empty() && used == copy && !last {
            record.flags |= group_flags::BLOCK_UNINIT;
            return None;
        }
        let mut bitmap = Box::new([0; BLOCK]);
        let mut mark = |blocks: Range<u64>| {
            let inside = blocks.start.max(range.start)..blocks.end.min(range.start + GROUP);
            if !inside.is_empty() {
                set_bits(&mut bitmap, inside.start - range.start..inside.end - range.start);
            }
        };
        mark(files);
        geometry.fixed_overlapping(&range).for_each(&mut mark);
        // Blocks past the end of the file system are marked as used.
        mark(range.end..range.start + GROUP);
        let checksum = self.seed.with(&bitmap[..]).value();
        set_halves(&mut record.block_bitmap_checksum_lo, &mut record.block_bitmap_checksum_hi, checksum);
        Some(bitmap)
    }

    /// Sets the number of free inodes. Returns the inode bitmap if the group has any inodes in use.
    fn inode_bitmap(&self, record: &mut GroupRecord) -> Option<Box<[u8; BLOCK]>> {
        let in_group = u64::from(self.usage.geometry.inodes_per_group);
        let used = self.usage.last_inode.saturating_sub(self.number * in_group).min(in_group);
        let free = (in_group - used) as u32;
        set_halves(&mut record.free_inodes_lo, &mut record.free_inodes_hi, free);
        set_halves(&mut record.unused_inodes_lo, &mut record.unused_inodes_hi, free);
        record.flags |= group_flags::INODE_ZEROED;
        if used == 0 {
            record.flags |= group_flags::INODE_UNINIT;
            return None;
        }
        let mut bitmap = Box::new([0; BLOCK]);
        set_bits(&mut bitmap, 0..used);
        set_bits(&mut bitmap, in_group..GROUP);
        let checksum = self.seed.with(&bitmap[..in_group as usize / 8]).value();
        set_halves(&mut record.inode_bitmap_checksum_lo, &mut record.inode_bitmap_checksum_hi, checksum);
        Some(bitmap)
    }
}

fn set_bits(bitmap: &mut [u8; BLOCK], bits: Range<u64>) {
    for bit in bits {
        bitmap[bit as usize / 8] |= 1 << (bit % 8);
    }
}
