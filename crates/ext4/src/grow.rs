//! Grows a file system that is not mounted.
//!
//! No block of the file system is moved. New groups come after the old ones, and descriptors that have no room after the
//! superblocks are kept in the groups that they describe (`meta_bg`; kernel documentation, "Meta Block Groups"), so the
//! size has no limit below that of the format. A resize inode is removed, because both exclude each other.
//!
//! The order of writes makes an interruption harmless at each point:
//!
//! 1. The new groups, and their descriptors behind those of the old groups. The superblock does not refer to them yet.
//! 2. The superblock, in one write: from now on the file system has its new size. Blocks that become free in old groups,
//!    past the old end or reserved for descriptors, are still marked used. The state is unclean, and reserved bytes say
//!    which blocks these are.
//! 3. These blocks are freed. Each bitmap moves to one of them and back again, so that its descriptor always refers to a
//!    bitmap with the checksum that it has.
//! 4. The copies of descriptors and superblocks, and last the superblock with a clean state.
//!
//! After an interruption, e2fsck repairs the file system, or a further growth completes the first one.

mod device;
mod groups;
mod plan;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;

use zerocopy::FromZeros;

use crate::format::{GrowthRecord, state};
use crate::geometry::GroupPlace;
use crate::shape::{SUPERBLOCK_OFFSET, Shape};
use crate::{Error, Result, replay};

use device::Device;
pub use refusal::GrowthRefusal;

/// Marks a growth that is not complete.
const MAGIC: [u8; 8] = *b"vmrtgrow";
/// The resize inode, and the place of its only block in `i_block`.
const RESIZE_INODE: u64 = 7;
const DOUBLE_INDIRECT: usize = 13;
/// The beginning of a hash tree of dm-verity.
const VERITY_MAGIC: &[u8; 8] = b"verity\0\0";

/// The result of a growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Growth {
    /// Bytes of the file system before.
    pub from: u64,
    /// Bytes of the file system now.
    pub to: u64,
    /// The resize inode was removed. resize2fs(8) and the kernel can still grow the file system.
    pub removed_resize_inode: bool,
    /// An earlier growth that was interrupted was completed first.
    pub completed_earlier: bool,
    /// The journal was replayed first.
    pub replayed: bool,
}

/// Grows the file system of a regular file or a device to `size` bytes, rounded down to a whole block.
///
/// A regular file is extended to this size. The file system must not be mounted, and is not checked: run e2fsck first if
/// it may be damaged. If it was not unmounted, its journal is replayed first: a later replay would write old descriptors. All writes are synced. The file system can become up to one group smaller than `size`, if the rest
/// is too small for the metadata of a group. Bytes that follow the file system, up to `size`, are replaced by zeros.
///
/// # Errors
/// - [`Error::NotExt4`]: there is no ext4 file system, or its superblock is damaged.
/// - [`Error::Growth`]: it cannot be grown; nothing was changed.
/// - [`Error::Replay`]: the journal cannot be replayed.
/// - [`Error::Read`], [`Error::Write`]: the file cannot be read or written. Repeat the growth then.
pub fn grow_ext4(file: &File, size: u64) -> Result<Growth> {
    let shape = read_shape(&file)?;
    let is_dirty = refusal::refusal(&shape, true) == Some(GrowthRefusal::Dirty);
    if is_dirty {
        // Refuses a wrong size before anything is changed.
        if let Some(refusal) = refusal::size_refusal(&shape, size / shape.block()) {
            return Err(refusal.into());
        }
        replay(file).map_err(Error::Replay)?;
    }
    Ok(Growth { replayed: is_dirty, ..grow(file, size)? })
}

fn grow(mut device: impl Device, size: u64) -> Result<Growth> {
    let mut shape = read_shape(&device)?;
    let interrupted = interrupted(&shape)?;
    if let Some(refusal) = refusal::refusal(&shape, interrupted.is_some()) {
        return Err(refusal.into());
    }
    let wanted = size / shape.block();
    if let Some(refusal) = refusal::size_refusal(&shape, wanted) {
        return Err(refusal.into());
    }
    let (length, can_extend) = device.length().map_err(Error::Read)?;
    if length < shape.blocks() * shape.block() {
        return Err(GrowthRefusal::Damaged(format!("the file has only {length} bytes")).into());
    }
    if !can_extend && length < size {
        return Err(GrowthRefusal::Device { size: length }.into());
    }
    let completed_earlier = interrupted.is_some();
    if let Some(earlier) = interrupted {
        finish(&mut device, &mut shape, &earlier)?;
    }
    let from = shape.blocks() * shape.block();
    let removed_resize_inode = shape.has_resize_inode();
    let mut new = plan::grown(&shape, wanted);
    if new.blocks() > shape.blocks() {
        let record = begin(&mut device, &shape, &mut new, (length, can_extend))?;
        finish(&mut device, &mut new, &record)?;
    }
    if can_extend && length < size {
        device.extend(size).and_then(|()| device.sync()).map_err(Error::Write)?;
    }
    Ok(Growth {
        from,
        to: new.blocks() * new.block(),
        removed_resize_inode: removed_resize_inode && !new.has_resize_inode(),
        completed_earlier,
        replayed: false,
    })
}

/// Reads and checks the superblock of a file.
pub(super) fn read_shape_of(file: &File) -> Result<Shape> {
    read_shape(&file)
}

/// Returns whether the superblock has the record of a growth.
pub(super) fn is_interrupted(shape: &Shape) -> bool {
    shape.record.growth.magic == MAGIC
}

fn read_shape(device: &impl Device) -> Result<Shape> {
    let mut bytes = [0; 1024];
    match device.read(&mut bytes, SUPERBLOCK_OFFSET) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::NotExt4 { reason: "the file has fewer than 2048 bytes".to_owned() })
        }
        read => read.map_err(Error::Read).and_then(|()| Shape::new(&bytes)),
    }
}

/// Returns the record of a growth that was interrupted.
fn interrupted(shape: &Shape) -> Result<Option<GrowthRecord>> {
    let record = &shape.record;
    let growth = record.growth;
    // e2fsck has completed it if the state is clean.
    if !is_interrupted(shape) || record.state & state::VALID != 0 {
        return Ok(None);
    }
    if growth.mount_count != record.mount_count || growth.mount_time != record.mtime {
        return Err(GrowthRefusal::MountedMeanwhile.into());
    }
    let blocks = shape.first_data_block() + 1..=shape.blocks();
    let is_possible = blocks.contains(&growth.blocks.get())
        && growth.resize_block.get() < shape.blocks()
        && growth.bitmap_home.get() < shape.blocks()
        && u64::from(growth.reserved_descriptor_blocks.get()) <= shape.block() / 4;
    match is_possible {
        true => Ok(Some(growth)),
        false => Err(GrowthRefusal::Damaged("the record of an interrupted growth is impossible".to_owned()).into()),
    }
}

/// Writes the new groups and then the superblock, which makes them a part of the file system.
fn begin(
    device: &mut impl Device,
    old: &Shape,
    new: &mut Shape,
    (length, can_extend): (u64, bool),
) -> Result<GrowthRecord> {
    let mut growth = GrowthRecord::new_zeroed();
    growth.magic = MAGIC;
    growth.blocks = old.blocks().into();
    growth.mount_count = old.record.mount_count;
    growth.mount_time = old.record.mtime;
    if old.has_resize_inode() && !new.has_resize_inode() {
        growth.reserved_descriptor_blocks = old.record.reserved_descriptor_blocks;
        growth.resize_block = resize_block(device, old)?.into();
    }
    let freed = freed(new, &growth);
    for (group, ranges) in &freed {
        groups::check_used(device, old, *group, ranges)?;
    }
    clear_room(device, old, new, length, can_extend)?;
    for group in freed.keys() {
        groups::materialize(device, old, *group)?;
    }
    let free = write_groups(device, new, old.groups(), can_extend)?;
    device.sync().map_err(Error::Write)?;
    add_totals(old, new, free);
    new.record.growth = growth;
    new.record.state = (new.record.state.get() & !state::VALID).into();
    write_superblock(device, new)?;
    Ok(growth)
}

/// Extends the file, and makes the blocks after the old end zeros.
fn clear_room(device: &mut impl Device, old: &Shape, new: &Shape, length: u64, can_extend: bool) -> Result<()> {
    let (start, end) = (old.blocks() * old.block(), new.blocks() * new.block());
    let mut beginning = [0; 8];
    if start + 8 <= length {
        device.read(&mut beginning, start).map_err(Error::Read)?;
    }
    if &beginning == VERITY_MAGIC {
        return Err(GrowthRefusal::HashTree.into());
    }
    if !can_extend {
        // All blocks with meaning are written, and the kernel zeroes the inode tables.
        return Ok(());
    }
    const STEP: u64 = 1 << 20;
    let zeros = vec![0; STEP as usize];
    let (mut at, end_of_old_bytes) = (start, end.min(length));
    while at < end_of_old_bytes {
        let Some((data, data_end)) = device.next_data(at, end_of_old_bytes).map_err(Error::Read)? else { break };
        at = data_end.min(data + STEP);
        device.write(&zeros[..(at - data) as usize], data).map_err(Error::Write)?;
    }
    if length < end {
        device.extend(end).map_err(Error::Write)?;
    }
    Ok(())
}

/// Writes the groups from `first` on. Returns the number of their free blocks.
fn write_groups(device: &mut impl Device, shape: &Shape, first: u64, zeroed: bool) -> Result<u64> {
    let per_block = shape.descriptors_per_block();
    // The descriptors since the last whole block of them, and the group of the first.
    let (mut descriptors, mut start, mut free) = (Vec::new(), first, 0);
    for run in plan::runs(shape, first) {
        let run = run.ok_or_else(|| GrowthRefusal::Damaged("a group is too small for its metadata".to_owned()))?;
        let end = run.first + run.places.len() as u64;
        free += groups::write_run(device, shape, &run, zeroed, &mut descriptors)?;
        while start / per_block < end / per_block || start < end && end == shape.groups() {
            let next = ((start / per_block + 1) * per_block).min(end);
            let rest = descriptors.split_off(((next - start) * shape.descriptor()) as usize);
            // The rest of the block is zeros, as mke2fs leaves it.
            descriptors.resize(((per_block - start % per_block) * shape.descriptor()) as usize, 0);
            device.write(&descriptors, shape.descriptor_offset(start)).map_err(Error::Write)?;
            (descriptors, start) = (rest, next);
        }
    }
    Ok(free)
}

/// Sets the totals of the superblock. `free` is the number of free blocks of the new groups.
fn add_totals(old: &Shape, new: &mut Shape, free: u64) {
    let kept = u128::from(old.kept_blocks()) * u128::from(new.blocks()) / u128::from(old.blocks());
    let added = ((new.groups() - old.groups()) * u64::from(old.inodes_per_group())) as u32;
    set_free(new, old.free_blocks() + free);
    let record = &mut new.record;
    (record.reserved_blocks_count_lo, record.reserved_blocks_count_hi) =
        ((kept as u32).into(), ((kept >> 32) as u32).into());
    record.inodes_count += added;
    record.free_inodes_count += added;
    // The kernel computes it when it mounts.
    record.overhead = 0.into();
}

fn set_free(shape: &mut Shape, free: u64) {
    let record = &mut shape.record;
    (record.free_blocks_count_lo, record.free_blocks_count_hi) = ((free as u32).into(), ((free >> 32) as u32).into());
}

fn write_superblock(device: &mut impl Device, shape: &Shape) -> Result<()> {
    device.write(&shape.superblock(0), SUPERBLOCK_OFFSET).and_then(|()| device.sync()).map_err(Error::Write)
}

/// Frees the blocks of the old groups that became free, writes all copies, and makes the state clean.
fn finish(device: &mut impl Device, shape: &mut Shape, growth: &GrowthRecord) -> Result<()> {
    if growth.resize_block != 0 || growth.reserved_descriptor_blocks != 0 {
        let zeros = vec![0; shape.record.inode_size.get().into()];
        let at = resize_inode_offset(device, shape)?;
        device.write(&zeros, at).map_err(Error::Write)?;
    }
    let freed = freed(shape, growth);
    for (group, ranges) in &freed {
        groups::free_blocks(device, shape, *group, ranges)?;
    }
    let count: u64 = freed.values().flatten().map(|range| range.end - range.start).sum();
    set_free(shape, shape.free_blocks() + count);
    shape.record.growth = GrowthRecord::new_zeroed();
    shape.record.state = (shape.record.state.get() | state::VALID).into();
    write_copies(device, shape, growth, &freed)?;
    device.sync().map_err(Error::Write)?;
    write_superblock(device, shape)
}

/// Blocks by their group.
type BlocksByGroup = BTreeMap<u64, Vec<Range<u64>>>;

/// Returns the blocks of old groups that are free after the growth and were not before.
fn freed(new: &Shape, growth: &GrowthRecord) -> BlocksByGroup {
    let old_blocks = growth.blocks.get();
    let groups = new.groups_of(old_blocks);
    let mut freed = BlocksByGroup::new();
    let mut add = |group: u64, range: Range<u64>| {
        if !range.is_empty() {
            freed.entry(group).or_default().push(range);
        }
    };
    add(groups - 1, old_blocks..groups::blocks_of(new, groups - 1).end);
    let reserved = u64::from(growth.reserved_descriptor_blocks.get());
    for group in new.superblock_groups(groups) {
        let start = new.group_start(group) + 1 + new.old_style_blocks();
        let end = (start + reserved).min(groups::blocks_of(new, group).end).min(old_blocks);
        add(group, start..end);
    }
    let block = growth.resize_block.get();
    if block > new.first_data_block() {
        add((block - new.first_data_block()) / new.group_blocks(), block..block + 1);
    }
    freed
}

fn resize_inode_offset(device: &impl Device, shape: &Shape) -> Result<u64> {
    let table = GroupPlace::of(&groups::read_descriptor(device, shape, 0)?).inode_table;
    match (shape.first_data_block() + 2..shape.blocks()).contains(&table) {
        true => Ok(table * shape.block() + (RESIZE_INODE - 1) * u64::from(shape.record.inode_size.get())),
        false => Err(GrowthRefusal::Damaged("the first inode table is outside of it".to_owned()).into()),
    }
}

/// Returns the block that lists the blocks which are reserved for descriptors, or 0 if there is none.
fn resize_block(device: &impl Device, shape: &Shape) -> Result<u64> {
    let mut words = [0; 60];
    device.read(&mut words, resize_inode_offset(device, shape)? + 40).map_err(Error::Read)?;
    let words: Vec<u32> = words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let block = u64::from(words[DOUBLE_INDIRECT]);
    let others = words.iter().enumerate().filter(|(place, _)| *place != DOUBLE_INDIRECT);
    let is_plain = others.map(|(_, word)| word).all(|word| *word == 0);
    match is_plain && (block == 0 || (shape.first_data_block() + 2..shape.blocks()).contains(&block)) {
        true => Ok(block),
        false => Err(GrowthRefusal::Damaged("its resize inode has other blocks than it should have".to_owned()).into()),
    }
}

/// Writes the copies of the descriptors that changed, and all copies of the superblock.
fn write_copies(device: &mut impl Device, shape: &Shape, growth: &GrowthRecord, freed: &BlocksByGroup) -> Result<()> {
    let per_block = shape.descriptors_per_block();
    let old_groups = shape.groups_of(growth.blocks.get());
    let mut changed: BTreeSet<u64> = freed.keys().map(|group| group / per_block).collect();
    changed.extend((old_groups - 1) / per_block..shape.descriptor_blocks());
    let holders = shape.superblock_groups(shape.groups());
    if holders.iter().any(|&group| group >= old_groups && shape.is_old_style(group)) {
        // A new copy has all of them.
        changed.extend(0..shape.old_style_blocks());
    }
    let mut block = vec![0; shape.block() as usize];
    for number in changed {
        let primary = shape.descriptor_offset(number * per_block);
        device.read(&mut block, primary).map_err(Error::Read)?;
        for place in shape.descriptor_places(number).into_iter().map(|place| place * shape.block()) {
            if place != primary {
                device.write(&block, place).map_err(Error::Write)?;
            }
        }
    }
    for group in holders.into_iter().skip(1) {
        device.write(&shape.superblock(group), shape.group_start(group) * shape.block()).map_err(Error::Write)?;
    }
    Ok(())
}
