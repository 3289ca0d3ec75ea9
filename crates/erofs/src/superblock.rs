//! The first block: the superblock, and the part of the device table that fits.

use vmroot_container_fs::{InodeId, Timestamp};
use zerocopy::IntoBytes;

use super::format::{
    BLOCK, BLOCK_BITS, COMPAT_CHECKSUM, COMPAT_MTIME, DeviceSlot, INCOMPAT_DEVICE_TABLE, MAGIC, SUPERBLOCK_OFFSET,
    Superblock,
};
use super::plan::Plan;

/// Offset of the device table in bytes.
pub(crate) const DEVICE_TABLE: usize = SUPERBLOCK_OFFSET + size_of::<Superblock>();

/// Returns the superblock of an image with `blocks` blocks and `devices` entries in the device table. [`seal`] adds the
/// checksum.
pub(crate) fn superblock(plan: &Plan<'_>, blocks: u32, devices: u16, options: &str) -> Superblock {
    let Timestamp { seconds, nanoseconds } = plan.epoch;
    let nid = plan.inodes[InodeId::ROOT.0 as usize].nid();
    Superblock {
        magic: MAGIC.into(),
        feature_compat: (COMPAT_CHECKSUM | COMPAT_MTIME).into(),
        block_bits: BLOCK_BITS,
        root_nid: u16::try_from(nid).expect("the root follows the table of devices, which is limited").into(),
        inodes: (plan.inodes.len() as u64).into(),
        epoch: (seconds as u64).into(),
        epoch_nanoseconds: nanoseconds.into(),
        blocks: blocks.into(),
        meta_block: (plan.start as u32).into(),
        xattr_block: (plan.start as u32).into(),
        uuid: plan.fs.image_uuid("erofs", options),
        feature_incompat: if devices > 0 { INCOMPAT_DEVICE_TABLE } else { 0 }.into(),
        extra_devices: devices.into(),
        device_table: if devices > 0 { (DEVICE_TABLE / size_of::<DeviceSlot>()) as u16 } else { 0 }.into(),
        ..Superblock::default()
    }
}

impl Superblock {
    /// Returns the superblock for the image and its devices on one disk of `blocks` blocks.
    pub(crate) fn without_devices(&self, blocks: u32) -> Self {
        let none = 0.into();
        let feature_incompat = (self.feature_incompat.get() & !INCOMPAT_DEVICE_TABLE).into();
        Self { feature_incompat, extra_devices: none, device_table: none, blocks: blocks.into(), ..self.clone() }
    }
}

/// Writes the superblock with its checksum into the first block of an image.
pub(crate) fn seal(superblock: &Superblock, block: &mut [u8]) {
    let checked = &mut block[SUPERBLOCK_OFFSET..BLOCK as usize];
    let mut superblock = superblock.clone();
    superblock.checksum = 0.into();
    checked[..size_of::<Superblock>()].copy_from_slice(superblock.as_bytes());
    superblock.checksum = (!crc32c::crc32c(checked)).into();
    checked[..size_of::<Superblock>()].copy_from_slice(superblock.as_bytes());
}
