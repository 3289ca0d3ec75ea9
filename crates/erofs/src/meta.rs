//! The metadata-only form: the contents of files stay in the layers' contents files.
//!
//! Each contents file that has any block is a device of the image, its blocks numbered on from where the metadata ends.
//! A kernel finds them in one of three ways: on devices that `device=` options name (Linux 5.16), behind the metadata on
//! one disk (Linux 6.4, which takes a table of devices without such options for that), or behind [`ErofsMeta::head`] on
//! one disk (Linux 5.4): that is the first block without any word of devices.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;

use vmroot_container_fs::{ContainerFs, Contents};
use vmroot_model::Digest;
use vmroot_output::ImageFile;
use vmroot_output::Omissions;
use zerocopy::IntoBytes;

use super::format::{BLOCK, DeviceSlot};
use super::metadata::{ItemRuns, write_directories};
use super::plan::{Files, Plan, check_blocks};
use super::superblock::{DEVICE_TABLE, seal, superblock};
use super::xattrs;
use crate::{Error, Result};

/// The most contents files: the root directory's number has 16 bits, and stands behind the table of devices.
pub const MAX_DEVICES: usize = 16_000;

/// A metadata-only image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErofsMeta {
    /// Blocks of 4096 bytes of the metadata.
    pub blocks: u32,
    /// Blocks of the metadata and of all devices.
    pub total_blocks: u32,
    /// What has the contents, lowest layer first: layers without contents are left out, and so is the second of two
    /// that are the same.
    pub devices: Vec<ErofsDevice>,
    /// Xattrs that EROFS has no name or no room for; they are left out.
    pub omissions: Omissions,
    /// The block that makes one file system of metadata and contents on one disk when it replaces the first.
    pub head: Box<[u8; BLOCK as usize]>,
}

/// A contents file as a device of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErofsDevice {
    /// Where it lies.
    pub path: PathBuf,
    /// The diff id of its layer.
    pub diff_id: Digest,
    /// Blocks of 4096 bytes.
    pub blocks: u32,
    /// Its first block in the numbers of the whole.
    pub mapped_block: u32,
}

/// Writes the metadata of the root to an empty file as an EROFS image whose contents are on other devices.
///
/// Files are addressed where they are in contents files, by whole blocks, so nothing but metadata is read or written.
///
/// # Errors
/// [`Error::TooLarge`] from 16 TiB or [`MAX_DEVICES`] contents files on, [`Error::Write`].
pub fn write_erofs_meta(fs: &ContainerFs, file: &File) -> Result<ErofsMeta> {
    let count = distinct_contents(fs).len();
    if count > MAX_DEVICES {
        let what = format!("{count} layers with contents, it has room for {MAX_DEVICES}");
        return Err(Error::TooLarge { what });
    }
    let mut plan = Plan::of(fs, Files::Whole, count)?;
    let (devices, total_blocks) = address(&mut plan)?;
    let blocks = check_blocks(plan.end)?;
    let target = ImageFile::buffered(file).map_err(Error::Write)?;
    let mut head = Box::new([0; BLOCK as usize]);
    let runs = ItemRuns::of(&plan);
    let mut bytes = Vec::new();
    for run in 0..runs.count() {
        let place = runs.blocks(&plan, run);
        bytes.clear();
        bytes.resize(place.length as usize, 0);
        runs.write(&plan, run, &mut bytes)?;
        if run == 0 {
            write_first_blocks(&plan, &devices, blocks, total_blocks, &mut bytes, &mut head);
        }
        target.write(&bytes, place.offset).map_err(Error::Write)?;
    }
    write_directories(&plan, |bytes, offset| target.write(bytes, offset).map_err(Error::Write))?;
    Ok(ErofsMeta { blocks, total_blocks, devices, omissions: xattrs::omissions(fs), head })
}

/// The contents files that a metadata-only image of the root has as its devices, in their order.
pub fn erofs_devices(fs: &ContainerFs) -> impl Iterator<Item = &Contents> {
    distinct_contents(fs).into_iter().map(|number| fs.contents_file(number))
}

/// The numbers of contents files that have blocks, each diff id once: a layer may be in an image twice.
fn distinct_contents(fs: &ContainerFs) -> Vec<u32> {
    let mut seen = HashSet::new();
    let all = fs.contents().enumerate();
    all.filter(|(_, file)| file.length > 0 && seen.insert(file.diff_id)).map(|(number, _)| number as u32).collect()
}

/// Gives the devices and all files their addresses; gives the number of all blocks as well.
fn address(plan: &mut Plan<'_>) -> Result<(Vec<ErofsDevice>, u32)> {
    let mut devices: Vec<ErofsDevice> = Vec::new();
    let mut end = check_blocks(plan.end)?;
    for number in distinct_contents(plan.fs) {
        let file = plan.fs.contents_file(number);
        let blocks = check_blocks(file.length / BLOCK)?;
        devices.push(ErofsDevice { path: file.path.clone(), diff_id: file.diff_id, blocks, mapped_block: end });
        end = check_blocks(u64::from(end) + u64::from(blocks))?;
    }
    let device_of = |file: &Contents| devices.iter().find(|one| one.diff_id == file.diff_id);
    let first_blocks: Vec<u64> =
        plan.fs.contents().map(|file| device_of(file).map_or(0, |device| device.mapped_block.into())).collect();
    for ino in plan.fs.inodes() {
        if let Some(extent) = plan.fs.extent(ino) {
            let first = first_blocks[extent.file as usize] + extent.offset / BLOCK;
            plan.inodes[ino.0 as usize].layout.set_block(first)?;
        }
    }
    Ok((devices, end))
}

fn write_first_blocks(
    plan: &Plan<'_>,
    devices: &[ErofsDevice],
    blocks: u32,
    total_blocks: u32,
    bytes: &mut [u8],
    head: &mut [u8; BLOCK as usize],
) {
    for (slot, device) in bytes[DEVICE_TABLE..].chunks_exact_mut(size_of::<DeviceSlot>()).zip(devices) {
        let mut tag = [0; 64];
        let hex = device.diff_id.hex();
        let length = hex.len().min(tag.len());
        tag[..length].copy_from_slice(&hex.as_bytes()[..length]);
        let record = DeviceSlot {
            tag,
            blocks: device.blocks.into(),
            mapped_block: device.mapped_block.into(),
            reserved: [0; 56],
        };
        slot.copy_from_slice(record.as_bytes());
    }
    head.copy_from_slice(&bytes[..BLOCK as usize]);
    let superblock = superblock(plan, blocks, devices.len() as u16, "meta");
    seal(&superblock, bytes);
    let table_end = DEVICE_TABLE + size_of::<DeviceSlot>() * devices.len();
    head[DEVICE_TABLE..table_end.min(BLOCK as usize)].fill(0);
    seal(&superblock.without_devices(total_blocks), head);
}
