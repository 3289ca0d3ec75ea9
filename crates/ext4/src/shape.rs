//! The shape of any ext4 file system, as its superblock describes it: sizes, places of descriptors, checksums.
//!
//! The superblock is input of a guest. [`Shape::new`] accepts only numbers with which the other functions cannot
//! overflow or divide by zero.

use std::iter;

use zerocopy::{FromBytes, IntoBytes};

use crate::checksum::{Seed, crc32c};
use crate::format::{SuperblockRecord, compatible, compatible_read_only, incompatible};
use crate::geometry::has_superblock;
use crate::{Error, Result};

/// The place of the first superblock in bytes, which does not depend on the size of a block.
pub(super) const SUPERBLOCK_OFFSET: u64 = 1024;
/// The most blocks: 2^48, as extents have block numbers of 48 bits.
pub(super) const MAX_BLOCKS: u64 = 1 << 48;

/// How group descriptors and bitmaps are protected.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sums {
    /// Not at all. Groups then need bitmaps, even if they are empty.
    None,
    /// Descriptors by CRC-16 (`gdt_csum`). The value is that of the UUID.
    Crc16(u16),
    /// Everything by CRC-32C (`metadata_csum`).
    Crc32c(Seed),
}

/// A superblock whose numbers agree with one another.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) record: SuperblockRecord,
    pub(super) sums: Sums,
}

impl Shape {
    /// Checks a superblock.
    ///
    /// # Errors
    /// [`Error::NotExt4`]: it is none, its checksum is wrong, or its numbers are impossible.
    pub(super) fn new(bytes: &[u8; 1024]) -> Result<Self> {
        let record = SuperblockRecord::read_from_bytes(bytes).expect("the record has 1024 bytes");
        let not = |reason: &str| Err(Error::NotExt4 { reason: reason.to_owned() });
        if record.magic != 0xef53 {
            return not("there is no superblock");
        }
        let sums = Sums::of(&record);
        if let Sums::Crc32c(_) = sums
            && record.checksum != superblock_checksum(&record)
        {
            return not("the checksum of the superblock is wrong");
        }
        let shape = Self { record, sums };
        match shape.fault() {
            Some(field) => not(&format!("{field} of the superblock is impossible")),
            None => Ok(shape),
        }
    }

    /// Returns the field that contradicts the others.
    fn fault(&self) -> Option<&'static str> {
        let record = &self.record;
        if record.log_block_size > 6 {
            return Some("the size of a block");
        }
        // A bit stands for a block, or for a cluster of up to 2^16 of them.
        if self.log_cluster() > 16 {
            return Some("the size of a cluster");
        }
        let (block, bits) = (self.block(), 8 * self.block());
        let most = bits << self.log_cluster();
        let inode = u64::from(record.inode_size.get());
        let is_64_bit = record.incompatible & incompatible::BITS_64 != 0;
        let group = self.group_blocks();
        let per_group = u64::from(self.inodes_per_group());
        let faults = [
            ("the revision", record.revision != 1),
            ("the size of an inode", !inode.is_power_of_two() || !(128..=block).contains(&inode)),
            ("the number of blocks of a group", !(256..=most).contains(&group) || !group.is_multiple_of(8)),
            ("the number of inodes of a group", !(8..=bits).contains(&per_group) || !per_group.is_multiple_of(8)),
            (
                "the first block",
                self.first_data_block() > 1
                    || (self.first_data_block() == 1) != (block == 1024 && self.log_cluster() == 0),
            ),
            ("the size of a descriptor", is_64_bit && record.descriptor_size != 64),
        ];
        if let Some((field, _)) = faults.into_iter().find(|(_, is_wrong)| *is_wrong) {
            return Some(field);
        }
        let blocks = self.blocks();
        if !(self.first_data_block() + 16..MAX_BLOCKS).contains(&blocks) {
            return Some("the number of blocks");
        }
        let faults = [
            ("the number of inodes", u64::from(record.inodes_count.get()) != self.groups() * per_group),
            ("the number of free blocks", self.free_blocks() > blocks),
            ("the number of free inodes", record.free_inodes_count > record.inodes_count),
            (
                "the first meta block group",
                self.has_meta_groups() && self.old_style_blocks() > self.descriptor_blocks(),
            ),
            ("the number of reserved descriptors", self.reserved_blocks() > block / 4),
        ];
        faults.into_iter().find(|(_, is_wrong)| *is_wrong).map(|(field, _)| field)
    }

    /// Returns the bytes of a block.
    pub(super) fn block(&self) -> u64 {
        1024 << self.record.log_block_size.get()
    }

    /// Returns the number of blocks of a cluster as a power of two; 0 without `bigalloc`.
    pub(super) fn log_cluster(&self) -> u32 {
        let record = &self.record;
        match record.compatible_read_only & compatible_read_only::BIGALLOC != 0 {
            true => record.log_cluster_size.get().wrapping_sub(record.log_block_size.get()),
            false => 0,
        }
    }

    /// Returns the number of blocks.
    pub(super) fn blocks(&self) -> u64 {
        join(self.record.blocks_count_lo.get(), self.record.blocks_count_hi.get(), self.is_64_bit())
    }

    /// Returns the number of free blocks, or with `bigalloc` of free clusters.
    pub(super) fn free_blocks(&self) -> u64 {
        join(self.record.free_blocks_count_lo.get(), self.record.free_blocks_count_hi.get(), self.is_64_bit())
    }

    /// Returns the number of blocks that only root can use.
    pub(super) fn kept_blocks(&self) -> u64 {
        join(self.record.reserved_blocks_count_lo.get(), self.record.reserved_blocks_count_hi.get(), self.is_64_bit())
    }

    pub(super) fn is_64_bit(&self) -> bool {
        self.record.incompatible & incompatible::BITS_64 != 0
    }

    /// Returns whether descriptors after the first ones are in the groups that they describe (`meta_bg`).
    pub(super) fn has_meta_groups(&self) -> bool {
        self.record.incompatible & incompatible::META_BG != 0
    }

    pub(super) fn has_resize_inode(&self) -> bool {
        self.record.compatible & compatible::RESIZE_INODE != 0
    }

    pub(super) fn first_data_block(&self) -> u64 {
        self.record.first_data_block.get().into()
    }

    /// Returns the number of blocks of each group but the last.
    pub(super) fn group_blocks(&self) -> u64 {
        self.record.blocks_per_group.get().into()
    }

    pub(super) fn inodes_per_group(&self) -> u32 {
        self.record.inodes_per_group.get()
    }

    /// Returns the number of groups of a file system of this shape with `blocks` blocks.
    pub(super) fn groups_of(&self, blocks: u64) -> u64 {
        (blocks - self.first_data_block()).div_ceil(self.group_blocks())
    }

    pub(super) fn groups(&self) -> u64 {
        self.groups_of(self.blocks())
    }

    /// Returns the first block of a group.
    pub(super) fn group_start(&self, group: u64) -> u64 {
        self.first_data_block() + group * self.group_blocks()
    }

    /// Returns the number of blocks of an inode table.
    pub(super) fn table_blocks(&self) -> u64 {
        (u64::from(self.inodes_per_group()) * u64::from(self.record.inode_size.get())).div_ceil(self.block())
    }

    /// Returns the bytes of a group descriptor.
    pub(super) fn descriptor(&self) -> u64 {
        if self.is_64_bit() { 64 } else { 32 }
    }

    /// Returns the number of descriptors in a block.
    pub(super) fn descriptors_per_block(&self) -> u64 {
        self.block() / self.descriptor()
    }

    /// Returns the number of blocks of descriptors, without copies.
    pub(super) fn descriptor_blocks(&self) -> u64 {
        self.groups().div_ceil(self.descriptors_per_block())
    }

    /// Returns the number of blocks of descriptors after each superblock.
    pub(super) fn old_style_blocks(&self) -> u64 {
        if self.has_meta_groups() { self.record.first_meta_group.get().into() } else { self.descriptor_blocks() }
    }

    /// Returns the number of blocks that are reserved after these descriptors.
    pub(super) fn reserved_blocks(&self) -> u64 {
        self.record.reserved_descriptor_blocks.get().into()
    }

    /// Returns whether a group begins with a superblock, as `sparse_super` or `sparse_super2` places them.
    pub(super) fn has_superblock(&self, group: u64) -> bool {
        if self.has_two_backups() {
            return group == 0 || self.record.backup_groups.iter().any(|backup| u64::from(backup.get()) == group);
        }
        has_superblock(group)
    }

    /// Returns the groups before `end` that begin with a superblock, in ascending order.
    pub(super) fn superblock_groups(&self, end: u64) -> Vec<u64> {
        let powers = |base: u64| iter::successors(Some(base), move |power| power.checked_mul(base));
        let mut groups: Vec<u64> = match self.has_two_backups() {
            true => self.record.backup_groups.iter().map(|backup| backup.get().into()).collect(),
            false => [3, 5, 7].into_iter().flat_map(|base| powers(base).take_while(|power| *power < end)).collect(),
        };
        groups.extend([0, 1]);
        groups.retain(|&group| group < end && self.has_superblock(group));
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    fn has_two_backups(&self) -> bool {
        self.record.compatible & compatible::SPARSE_SUPER_2 != 0
    }

    /// Returns whether the descriptors of a group are after the superblocks.
    pub(super) fn is_old_style(&self, group: u64) -> bool {
        group / self.descriptors_per_block() < self.old_style_blocks()
    }

    /// Returns the number of blocks at the start of a group that hold a superblock and descriptors, or are reserved for
    /// descriptors.
    pub(super) fn head_blocks(&self, group: u64) -> u64 {
        let superblock = u64::from(self.has_superblock(group));
        let per_block = self.descriptors_per_block();
        match self.is_old_style(group) {
            true => superblock * (1 + self.old_style_blocks() + self.reserved_blocks()),
            false => superblock + u64::from([0, 1, per_block - 1].contains(&(group % per_block))),
        }
    }

    /// Returns the places of a block of descriptors, the one that the kernel reads first.
    pub(super) fn descriptor_places(&self, number: u64) -> Vec<u64> {
        let groups = self.groups();
        if number < self.old_style_blocks() {
            let holders = self.superblock_groups(groups).into_iter().filter(|&group| self.is_old_style(group));
            return holders.map(|group| self.group_start(group) + 1 + number).collect();
        }
        let first = number * self.descriptors_per_block();
        let holders = [first, first + 1, first + self.descriptors_per_block() - 1];
        let place = |group: u64| self.group_start(group) + u64::from(self.has_superblock(group));
        holders.into_iter().filter(|&group| group < groups).map(place).collect()
    }

    /// Returns the place in bytes of the descriptor of a group.
    pub(super) fn descriptor_offset(&self, group: u64) -> u64 {
        let number = group / self.descriptors_per_block();
        let block = match number < self.old_style_blocks() {
            true => self.first_data_block() + 1 + number,
            false => {
                let first = number * self.descriptors_per_block();
                self.group_start(first) + u64::from(self.has_superblock(first))
            }
        };
        block * self.block() + group % self.descriptors_per_block() * self.descriptor()
    }

    /// Returns the checksum of a bitmap of blocks or inodes.
    pub(super) fn bitmap_checksum(&self, bits: &[u8]) -> Option<u32> {
        match self.sums {
            Sums::Crc32c(seed) => Some(seed.with(bits).value()),
            Sums::None | Sums::Crc16(_) => None,
        }
    }

    /// Returns the bytes of a superblock for a group, with its checksum.
    pub(super) fn superblock(&self, group: u64) -> Vec<u8> {
        let mut record = self.record.clone();
        record.block_group = (group as u16).into();
        if let Sums::Crc32c(_) = self.sums {
            record.checksum = superblock_checksum(&record).into();
        }
        record.as_bytes().to_vec()
    }
}

impl Sums {
    fn of(record: &SuperblockRecord) -> Self {
        let features = record.compatible_read_only;
        if features & compatible_read_only::METADATA_CSUM != 0 {
            let is_stored = record.incompatible & incompatible::CSUM_SEED != 0;
            Self::Crc32c(if is_stored {
                Seed::starting_with(record.checksum_seed.get())
            } else {
                Seed::of(&record.uuid)
            })
        } else if features & compatible_read_only::GDT_CSUM != 0 {
            Self::Crc16(crc16(!0, &record.uuid))
        } else {
            Self::None
        }
    }

    /// Returns the checksum of the bytes of a descriptor, in which the field of the checksum is 0.
    pub(super) fn of_descriptor(self, group: u64, bytes: &[u8]) -> u16 {
        /// The offset of the checksum's field, and of the fields after it.
        const FIELD: usize = 0x1e;
        let number = (group as u32).to_le_bytes();
        match self {
            Self::None => 0,
            Self::Crc16(seed) => crc16(crc16(crc16(seed, &number), &bytes[..FIELD]), &bytes[FIELD + 2..]),
            Self::Crc32c(seed) => seed.with(&number).with(bytes).value() as u16,
        }
    }
}

fn superblock_checksum(record: &SuperblockRecord) -> u32 {
    crc32c(!0, &record.as_bytes()[..size_of::<SuperblockRecord>() - 4])
}

fn join(lo: u32, hi: u32, is_64_bit: bool) -> u64 {
    u64::from(lo) | if is_64_bit { u64::from(hi) << 32 } else { 0 }
}

/// Continues the CRC-16 of `gdt_csum` (the kernel's `crc16()`: polynomial 0x8005, reflected).
fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xa001 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc16_has_the_check_value_of_its_polynomial() {
        // CRC-16/ARC begins with 0, and that of MODBUS with ones.
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
        assert_eq!(crc16(!0, b"123456789"), 0x4b37);
    }
}
