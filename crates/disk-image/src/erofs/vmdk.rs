//! A VMDK descriptor that joins a metadata-only image and its contents to one disk (the format of VMware's "Virtual
//! Disk Format 1.1", as QEMU and `imago`, the library of libkrun, read it).
//!
//! Every extent is a whole file. The format has a place for where an extent begins in its file, but readers disagree on
//! its unit: for QEMU and for imago from 0.2.6 on it is a sector, for imago before that a byte. 0 is the same for all.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use vmroot_export::{Copier, Holes};

use super::format::BLOCK;
use super::meta::{ErofsDevice, ErofsMeta};
use crate::{Error, Result};

/// What extents are counted in, in bytes.
const SECTOR: u64 = 512;
/// The longest path of an extent in bytes that QEMU reads.
const MAX_PATH: usize = 511;

/// What a descriptor says may be done with its extents. No reader is to write; what they make of it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmdkAccess {
    /// `RW`, for QEMU, which passes over all other extents. imago opens these for writing, so only a user who may write
    /// the files can use them.
    ReadWrite,
    /// `RDONLY`, for imago, and so for libkrun.
    ReadOnly,
}

impl ErofsMeta {
    /// Writes the head of the whole on one disk: the image, which is in `image`, with [`Self::head`] as its first block.
    /// `to` is empty.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_head(&self, image: &File, to: &File) -> Result<()> {
        let write = || {
            let all = 0..u64::from(self.blocks) * BLOCK;
            let _always = Copier::default().copy(&mut Holes::new(image), all, to, |_| ControlFlow::Continue(()))?;
            to.write_all_at(&self.head[..], 0)
        };
        write().map_err(Error::Write)
    }

    /// A VMDK descriptor of the whole on one disk, which guests from Linux 5.4 on mount: `head`, which has what
    /// [`Self::write_head`] wrote, then the devices. Relative paths are relative to where the descriptor lies. QEMU takes
    /// it as `-drive file=…,format=vmdk,readonly=on`.
    ///
    /// # Errors
    /// [`Error::Unlistable`] for a path with quotes, with line breaks, or of more than 511 bytes.
    pub fn vmdk(&self, head: &Path, access: VmdkAccess) -> Result<Vec<u8>> {
        let id = self.devices.iter().map(|device| device.blocks).fold(self.blocks, u32::wrapping_add);
        let mut text = format!(
            "# Disk DescriptorFile\nversion=1\nCID={id:08x}\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n\n\
             # Extent description\n"
        )
        .into_bytes();
        add_extent(&mut text, access, self.blocks, head)?;
        for ErofsDevice { path, blocks, .. } in &self.devices {
            add_extent(&mut text, access, *blocks, path)?;
        }
        let cylinders = (u64::from(self.total_blocks) * BLOCK / SECTOR).div_ceil(16 * 63);
        text.extend_from_slice(
            format!(
                "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
                 ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n"
            )
            .as_bytes(),
        );
        Ok(text)
    }

    /// The paths of the devices, one a line, in the order in which `device=` options name them.
    ///
    /// # Errors
    /// [`Error::Unlistable`] for a path with line breaks.
    pub fn device_list(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for device in &self.devices {
            text.extend_from_slice(listable(&device.path, b"\n")?);
            text.push(b'\n');
        }
        Ok(text)
    }
}

/// Whether a VMDK descriptor can name a file.
///
/// # Errors
/// [`Error::Unlistable`], as [`ErofsMeta::vmdk`] has it.
pub fn check_vmdk_path(path: &Path) -> Result<()> {
    extent_path(path).map(drop)
}

fn extent_path(path: &Path) -> Result<&[u8]> {
    let bytes = listable(path, b"\"\r\n")?;
    if bytes.len() > MAX_PATH {
        return Err(Error::PathTooLong { path: path.to_owned(), limit: MAX_PATH });
    }
    Ok(bytes)
}

fn add_extent(text: &mut Vec<u8>, access: VmdkAccess, blocks: u32, path: &Path) -> Result<()> {
    let bytes = extent_path(path)?;
    let access = match access {
        VmdkAccess::ReadWrite => "RW",
        VmdkAccess::ReadOnly => "RDONLY",
    };
    let sectors = u64::from(blocks) * BLOCK / SECTOR;
    text.extend_from_slice(format!("{access} {sectors} FLAT \"").as_bytes());
    text.extend_from_slice(bytes);
    text.extend_from_slice(b"\" 0\n");
    Ok(())
}

fn listable<'p>(path: &'p Path, but: &[u8]) -> Result<&'p [u8]> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| but.contains(byte)) {
        return Err(Error::Unlistable { path: path.to_owned(), what: "quotes or line breaks" });
    }
    Ok(bytes)
}
