//! The metadata-only image: the contents of files stay in the layers' contents files.
//!
//! Each contents file that has blocks is a device of the image. Its block numbers follow those of the metadata and of
//! the devices before it. A kernel finds them in one of three ways:
//!
//! - on the devices that `device=` mount options name (Linux 5.16),
//! - after the metadata on one disk (Linux 6.4, for an image with a device table mounted without those options),
//! - after the metadata on one disk whose first block is [`ErofsMeta::head`], which has no device table (Linux 5.4).

mod export;

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;

use vmroot_container_fs::{ContainerFs, Contents};
use vmroot_model::Digest;
use vmroot_output::{ImageFile, Report};
use zerocopy::IntoBytes;

use super::format::{BLOCK, DeviceSlot, check_blocks};
use super::metadata::{ItemRuns, write_directories};
use super::plan::{FilePlacement, Plan};
use super::superblock::{DEVICE_TABLE, seal, superblock};
use super::{FORM, xattrs};
use crate::{Error, Result};

pub use export::{ErofsMetaFiles, ErofsMetaOptions, SIDE_FILES, export_erofs_meta};

/// The most contents files. The number of the root directory has 16 bits, and the root follows the device table.
pub const MAX_DEVICES: usize = 16_000;

/// A metadata-only image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErofsMeta {
    /// Size of the metadata in blocks of 4096 bytes.
    pub blocks: u32,
    /// Size of the metadata and of all devices in blocks of 4096 bytes.
    pub total_blocks: u32,
    /// The contents files that are the devices, lowest layer first. Layers without contents are left out, and a layer
    /// that occurs twice is a device once.
    pub devices: Vec<ErofsDevice>,
    /// The length of the metadata in bytes, and the xattrs that were left out because EROFS has no prefix or no room for
    /// them.
    pub report: Report,
    /// A replacement for the first block. It makes the metadata and the devices on one disk a single file system.
    pub head: Box<[u8; BLOCK as usize]>,
}

/// A contents file as a device of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErofsDevice {
    /// The path of the file.
    pub path: PathBuf,
    /// The diff id of its layer.
    pub diff_id: Digest,
    /// Size in blocks of 4096 bytes.
    pub blocks: u32,
    /// The number of its first block in the whole image.
    pub mapped_block: u32,
}

/// Writes the metadata of the root to an empty file, as an EROFS image whose file contents are on other devices.
///
/// The image refers to whole blocks of the contents files, so file contents are neither read nor written.
///
/// # Errors
/// - [`Error::Incomplete`]: [`ErofsMetaOptions::strict`] is set and EROFS cannot hold the whole root. Nothing is
///   written.
/// - [`Error::TooLarge`]: the whole image would have 16 TiB or more, or there are more than [`MAX_DEVICES`] contents
///   files.
/// - [`Error::Write`]: the file cannot be written.
/// - [`Error::Root`]: the root cannot be read.
pub fn write_erofs_meta(fs: &ContainerFs, file: &File, options: &ErofsMetaOptions<'_>) -> Result<ErofsMeta> {
    let omissions = xattrs::omissions(fs);
    if options.strict {
        omissions.require_complete(FORM)?;
    }
    let count = distinct_contents(fs).len();
    if count > MAX_DEVICES {
        let what = format!("{count} layers with contents, the limit is {MAX_DEVICES}");
        return Err(Error::TooLarge { what });
    }
    let mut plan = Plan::of(fs, FilePlacement::Whole, count)?;
    let (devices, total_blocks) = assign_addresses(&mut plan)?;
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
    let report = Report::new(u64::from(blocks) * BLOCK, omissions);
    Ok(ErofsMeta { blocks, total_blocks, devices, report, head })
}

/// Returns the contents files that are the devices of the root's metadata-only image, in their order.
pub fn erofs_devices(fs: &ContainerFs) -> impl Iterator<Item = &Contents> {
    distinct_contents(fs).into_iter().map(|number| fs.contents_file(number))
}

/// Returns the numbers of the contents files that have blocks. A layer can occur twice in an image, so each diff id is
/// listed once.
fn distinct_contents(fs: &ContainerFs) -> Vec<u32> {
    let mut seen = HashSet::new();
    let all = fs.contents().enumerate();
    all.filter(|(_, file)| file.length > 0 && seen.insert(file.diff_id)).map(|(number, _)| number as u32).collect()
}

/// Assigns addresses to the devices and to all files. Returns the devices and the number of blocks of the whole image.
fn assign_addresses(plan: &mut Plan<'_>) -> Result<(Vec<ErofsDevice>, u32)> {
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
