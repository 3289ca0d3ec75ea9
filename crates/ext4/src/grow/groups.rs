//! Descriptors and bitmaps: those of new groups, and changes of existing ones.

use std::ops::Range;

use zerocopy::{FromZeros, IntoBytes};

use super::device::Device;
use super::plan::Run;
use super::refusal::GrowthRefusal;
use crate::format::{GroupRecord, group_flags};
use crate::geometry::GroupPlace;
use crate::shape::{Shape, Sums};
use crate::{Error, Result};

/// Writes the bitmaps of the groups of a run, as far as the kernel does not create them. Appends their descriptors.
/// Returns the number of free blocks.
///
/// `zeroed` is true if the inode tables are known to be zeros.
pub(in crate::grow) fn write_run(
    device: &mut impl Device,
    shape: &Shape,
    run: &Run,
    zeroed: bool,
    descriptors: &mut Vec<u8>,
) -> Result<u64> {
    let mut total = 0;
    for (group, place) in (run.first..).zip(&run.places) {
        let range = blocks_of(shape, group);
        let used: Vec<_> = run.used.iter().filter_map(|used| intersection(used, &range)).collect();
        let free = length(&range) - used.iter().map(length).sum::<u64>();
        total += free;
        let mut record = GroupRecord::new_zeroed();
        place.describe(&mut record);
        record.set_free_blocks(free as u32);
        record.set_free_inodes(shape.inodes_per_group());
        let is_last = group + 1 == shape.groups();
        let own = own_blocks(shape, group, place);
        if is_last
            || matches!(shape.sums, Sums::None)
            || used.iter().map(length).sum::<u64>() != own.iter().map(length).sum::<u64>()
        {
            let bitmap = bitmap(shape, &range, &used);
            record.set_block_bitmap_checksum(shape.bitmap_checksum(&bitmap[..shape.group_blocks() as usize / 8]));
            write(device, &bitmap, place.block_bitmap * shape.block())?;
        } else {
            record.flags |= group_flags::BLOCK_UNINIT;
        }
        match shape.sums {
            Sums::None => {
                let mut bits = vec![0; shape.block() as usize];
                set_bits(&mut bits, u64::from(shape.inodes_per_group())..8 * shape.block());
                write(device, &bits, place.inode_bitmap * shape.block())?;
            }
            Sums::Crc16(_) | Sums::Crc32c(_) => {
                record.flags |= group_flags::INODE_UNINIT | if zeroed { group_flags::INODE_ZEROED } else { 0 };
                record.set_unused_inodes(shape.inodes_per_group());
            }
        }
        descriptors.extend_from_slice(&serialise(shape, group, record));
    }
    Ok(total)
}

/// Gives a group a block bitmap, if the kernel would create it. It does not change which blocks are used.
pub(in crate::grow) fn materialize(device: &mut impl Device, shape: &Shape, group: u64) -> Result<()> {
    let mut record = read_descriptor(device, shape, group)?;
    if record.flags & group_flags::BLOCK_UNINIT == 0 {
        return Ok(());
    }
    let place = GroupPlace::of(&record);
    let range = blocks_of(shape, group);
    let bitmap = bitmap(shape, &range, &own_blocks(shape, group, &place));
    if free_bits(&bitmap, &range) != record.free_blocks() {
        return Err(damaged(group, "another number of free blocks than its metadata leaves"));
    }
    check_place(shape, group, place.block_bitmap)?;
    write(device, &bitmap, place.block_bitmap * shape.block())?;
    record.flags &= !group_flags::BLOCK_UNINIT;
    record.set_block_bitmap_checksum(shape.bitmap_checksum(&bitmap[..shape.group_blocks() as usize / 8]));
    write(device, &serialise(shape, group, record), shape.descriptor_offset(group))
}

/// Frees blocks of a group. It may be repeated after an interruption.
///
/// A bitmap and the checksum in its descriptor cannot be written at once. So the new bitmap is first written to one of the
/// blocks that become free, and the descriptor refers to it, while the old place gets the new bitmap as well. `shape` is
/// the superblock, which keeps the old place meanwhile.
pub(in crate::grow) fn free_blocks(
    device: &mut impl Device,
    shape: &mut Shape,
    group: u64,
    freed: &[Range<u64>],
) -> Result<()> {
    let range = blocks_of(shape, group);
    let mut record = read_descriptor(device, shape, group)?;
    let at = block_bitmap_of(&record);
    let before = read_bitmap(device, shape, group, &record)?;
    let mut bitmap = before.clone();
    for bits in freed {
        clear_bits(&mut bitmap, bits.start - range.start..bits.end - range.start);
    }
    let is_moved = freed.iter().any(|freed| freed.contains(&at));
    if !is_moved && bitmap == before {
        return Ok(());
    }
    let home = if is_moved { shape.record.growth.bitmap_home.get() } else { at };
    check_place(shape, group, home)?;
    if !is_moved {
        let spare = freed[0].start;
        let mut moved = bitmap.clone();
        set_bits(&mut moved, spare - range.start..spare - range.start + 1);
        write(device, &moved, spare * shape.block())?;
        shape.record.growth.bitmap_home = home.into();
        super::write_superblock(device, shape)?;
        refer(device, shape, group, (&mut record, spare, &moved))?;
    }
    write(device, &bitmap, home * shape.block())?;
    device.sync().map_err(Error::Write)?;
    refer(device, shape, group, (&mut record, home, &bitmap))
}

/// Makes a descriptor refer to a bitmap, in one write.
fn refer(
    device: &mut impl Device,
    shape: &Shape,
    group: u64,
    (record, block, bitmap): (&mut GroupRecord, u64, &[u8]),
) -> Result<()> {
    GroupPlace { block_bitmap: block, ..GroupPlace::of(record) }.describe(record);
    record.set_free_blocks(free_bits(bitmap, &blocks_of(shape, group)));
    record.set_block_bitmap_checksum(shape.bitmap_checksum(&bitmap[..shape.group_blocks() as usize / 8]));
    write(device, &serialise(shape, group, record.clone()), shape.descriptor_offset(group))?;
    device.sync().map_err(Error::Write)
}

/// Checks that the blocks to free are marked used, before anything is changed.
pub(in crate::grow) fn check_used(device: &impl Device, shape: &Shape, group: u64, freed: &[Range<u64>]) -> Result<()> {
    let record = read_descriptor(device, shape, group)?;
    if record.flags & group_flags::BLOCK_UNINIT != 0 {
        return Ok(());
    }
    let range = shape.group_start(group)..shape.group_start(group) + 8 * shape.block();
    let bitmap = read_bitmap(device, shape, group, &record)?;
    let is_used = |block: u64| bitmap[((block - range.start) / 8) as usize] & 1 << ((block - range.start) % 8) != 0;
    match freed.iter().filter_map(|freed| intersection(freed, &range)).flatten().all(is_used) {
        true => Ok(()),
        false => Err(damaged(group, "free blocks where there should be none")),
    }
}

/// Reads the block bitmap of a group, and checks its checksum.
fn read_bitmap(device: &impl Device, shape: &Shape, group: u64, record: &GroupRecord) -> Result<Vec<u8>> {
    let at = block_bitmap_of(record);
    check_place(shape, group, at)?;
    let mut bitmap = vec![0; shape.block() as usize];
    device.read(&mut bitmap, at * shape.block()).map_err(Error::Read)?;
    let mut expected = record.clone();
    expected.set_block_bitmap_checksum(shape.bitmap_checksum(&bitmap[..shape.group_blocks() as usize / 8]));
    // A short descriptor has only a half of the checksum.
    let length = shape.descriptor() as usize;
    match expected.as_bytes()[..length] == record.as_bytes()[..length] {
        true => Ok(bitmap),
        false => Err(damaged(group, "a bitmap with a wrong checksum")),
    }
}

/// Reads a descriptor and checks its checksum.
pub(in crate::grow) fn read_descriptor(device: &impl Device, shape: &Shape, group: u64) -> Result<GroupRecord> {
    let mut record = GroupRecord::new_zeroed();
    let length = shape.descriptor() as usize;
    device.read(&mut record.as_mut_bytes()[..length], shape.descriptor_offset(group)).map_err(Error::Read)?;
    let stored = record.checksum;
    record.checksum = 0.into();
    if stored != shape.sums.of_descriptor(group, &record.as_bytes()[..length]) && !matches!(shape.sums, Sums::None) {
        return Err(damaged(group, "a descriptor with a wrong checksum"));
    }
    record.checksum = stored;
    Ok(record)
}

/// Returns the bytes of a descriptor, with its checksum.
fn serialise(shape: &Shape, group: u64, mut record: GroupRecord) -> Vec<u8> {
    let length = shape.descriptor() as usize;
    record.checksum = 0.into();
    record.checksum = shape.sums.of_descriptor(group, &record.as_bytes()[..length]).into();
    record.as_bytes()[..length].to_vec()
}

fn damaged(group: u64, what: &str) -> Error {
    GrowthRefusal::Damaged(format!("group {group} has {what}")).into()
}

fn check_place(shape: &Shape, group: u64, block: u64) -> Result<()> {
    match (shape.first_data_block() + 2..shape.blocks()).contains(&block) {
        true => Ok(()),
        false => Err(damaged(group, "a bitmap outside of the file system")),
    }
}

/// Returns the blocks of a group.
pub(in crate::grow) fn blocks_of(shape: &Shape, group: u64) -> Range<u64> {
    let start = shape.group_start(group);
    start..(start + shape.group_blocks()).min(shape.blocks())
}

/// Returns the blocks of a group that are used by its head and its own metadata.
fn own_blocks(shape: &Shape, group: u64, place: &GroupPlace) -> Vec<Range<u64>> {
    let range = blocks_of(shape, group);
    let own = [
        range.start..range.start + shape.head_blocks(group),
        place.block_bitmap..place.block_bitmap.saturating_add(1),
        place.inode_bitmap..place.inode_bitmap.saturating_add(1),
        place.inode_table..place.inode_table.saturating_add(shape.table_blocks()),
    ];
    own.iter().filter_map(|own| intersection(own, &range)).collect()
}

/// Returns a block bitmap with the used blocks, and with those outside of the group.
fn bitmap(shape: &Shape, range: &Range<u64>, used: &[Range<u64>]) -> Vec<u8> {
    let mut bits = vec![0; shape.block() as usize];
    used.iter().for_each(|used| set_bits(&mut bits, used.start - range.start..used.end - range.start));
    set_bits(&mut bits, length(range)..8 * shape.block());
    bits
}

/// Returns the number of free blocks of a group.
fn free_bits(bitmap: &[u8], range: &Range<u64>) -> u32 {
    (0..length(range)).filter(|bit| bitmap[(bit / 8) as usize] & 1 << (bit % 8) == 0).count() as u32
}

fn set_bits(bitmap: &mut [u8], bits: Range<u64>) {
    bits.for_each(|bit| bitmap[(bit / 8) as usize] |= 1 << (bit % 8));
}

fn clear_bits(bitmap: &mut [u8], bits: Range<u64>) {
    bits.for_each(|bit| bitmap[(bit / 8) as usize] &= !(1 << (bit % 8)));
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

fn intersection(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

fn block_bitmap_of(record: &GroupRecord) -> u64 {
    GroupPlace::of(record).block_bitmap
}

fn write(device: &mut impl Device, bytes: &[u8], offset: u64) -> Result<()> {
    device.write(bytes, offset).map_err(Error::Write)
}

impl GroupRecord {
    fn free_blocks(&self) -> u32 {
        u32::from(self.free_blocks_lo.get()) | u32::from(self.free_blocks_hi.get()) << 16
    }

    fn set_free_blocks(&mut self, count: u32) {
        (self.free_blocks_lo, self.free_blocks_hi) = ((count as u16).into(), ((count >> 16) as u16).into());
    }

    fn set_free_inodes(&mut self, count: u32) {
        (self.free_inodes_lo, self.free_inodes_hi) = ((count as u16).into(), ((count >> 16) as u16).into());
    }

    fn set_unused_inodes(&mut self, count: u32) {
        (self.unused_inodes_lo, self.unused_inodes_hi) = ((count as u16).into(), ((count >> 16) as u16).into());
    }

    /// Sets the checksum of the block bitmap, unless bitmaps have none.
    fn set_block_bitmap_checksum(&mut self, checksum: Option<u32>) {
        let Some(checksum) = checksum else { return };
        self.block_bitmap_checksum_lo = (checksum as u16).into();
        self.block_bitmap_checksum_hi = ((checksum >> 16) as u16).into();
    }
}
