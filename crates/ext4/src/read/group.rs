//! Group descriptors, and the places of inodes.

use zerocopy::{FromZeros, IntoBytes};

use super::features::incompatible;
use super::volume::Volume;
use super::{Ext4Reader, ReadAt, ReadError, ReadResult};
use crate::checksum::Seed;
use crate::format::GroupRecord;

/// Offset of `bg_checksum` in a descriptor.
const CHECKSUM: usize = 30;

impl Volume {
    /// Returns the block of the group's descriptor, and its offset there in bytes.
    fn place_of_descriptor(&self, group: u64) -> (u64, usize) {
        let in_block = (self.block_size / self.descriptor_size) as u64;
        let (number, position) = (group / in_block, group % in_block);
        let offset = position as usize * self.descriptor_size;
        let superblock = u64::from(self.block_size == 1024);
        if self.incompatible & incompatible::META_BG == 0 || number < self.first_meta_group {
            return (superblock + number + 1, offset);
        }
        // With `meta_bg`, the descriptors of as many groups as fit a block are in the first of these groups.
        let first = number * in_block;
        let mut before = u64::from(self.has_superblock(first));
        // The superblock of a file system with clusters and blocks of 1 KiB is in block 1, but its group begins at 0.
        if self.block_size == 1024 && number == 0 && self.first_block == 0 {
            before += 1;
        }
        (self.first_block + first * self.blocks_per_group + before, offset)
    }
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Returns the free blocks and inodes of all groups. The superblock has older numbers while a kernel has the file
    /// system mounted.
    pub(crate) fn count_free(&self) -> ReadResult<(u64, u32)> {
        let (mut clusters, mut inodes) = (0_u64, 0_u32);
        for group in 0..self.volume.groups {
            let record = self.group(group)?;
            clusters += u64::from(record.free_blocks_lo.get()) | u64::from(record.free_blocks_hi.get()) << 16;
            let free = u32::from(record.free_inodes_lo.get()) | u32::from(record.free_inodes_hi.get()) << 16;
            inodes = inodes.saturating_add(free);
        }
        Ok((clusters * self.volume.blocks_per_cluster, inodes))
    }

    fn group(&self, group: u64) -> ReadResult<GroupRecord> {
        let mut last = self.last_group.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((number, record)) = &*last
            && *number == group
        {
            return Ok(record.clone());
        }
        let (block, offset) = self.volume.place_of_descriptor(group);
        self.volume.check_blocks(block, 1, "a group descriptor")?;
        let mut bytes = vec![0; self.volume.descriptor_size];
        self.read_bytes(block * self.volume.block_size as u64 + offset as u64, &mut bytes)?;
        if let Some(seed) = self.volume.seed {
            check(seed, group, &bytes)?;
        }
        let mut record = GroupRecord::new_zeroed();
        let length = bytes.len().min(size_of::<GroupRecord>());
        record.as_mut_bytes()[..length].copy_from_slice(&bytes[..length]);
        *last = Some((group, record.clone()));
        Ok(record)
    }

    /// Returns the offset of an inode on the disk in bytes.
    pub(super) fn place_of_inode(&self, number: u32) -> ReadResult<u64> {
        let volume = &self.volume;
        if number == 0 || number > volume.inodes {
            return Err(ReadError::damaged(format!("there is no inode {number}")));
        }
        let (group, position) =
            ((number - 1) / volume.inodes_per_group, u64::from((number - 1) % volume.inodes_per_group));
        let record = self.group(group.into())?;
        let table = u64::from(record.inode_table_lo) | u64::from(record.inode_table_hi) << 32;
        let offset = position * volume.inode_size as u64;
        let block = table.saturating_add(offset / volume.block_size as u64);
        volume.check_blocks(block, 1, "an inode table")?;
        Ok(block * volume.block_size as u64 + offset % volume.block_size as u64)
    }
}

fn check(seed: Seed, group: u64, bytes: &[u8]) -> ReadResult<()> {
    let checksum = seed.with(&(group as u32).to_le_bytes()).with(&bytes[..CHECKSUM]).with(&[0; 2]);
    let checksum = checksum.with(&bytes[CHECKSUM + 2..]).value() as u16;
    match checksum.to_le_bytes() == bytes[CHECKSUM..CHECKSUM + 2] {
        true => Ok(()),
        false => Err(ReadError::damaged(format!("the checksum of the descriptor of group {group} is wrong"))),
    }
}
