//! A VMDK descriptor that joins a metadata-only image and its contents to one disk (the format of VMware's "Virtual
//! Disk Format 1.1", as QEMU reads it).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::format::BLOCK;
use super::meta::{ErofsDevice, ErofsMeta};
use crate::{Error, Result};

/// What extents are counted in, in bytes.
const SECTOR: u64 = 512;
/// The longest path of an extent in bytes that QEMU reads.
const MAX_PATH: usize = 511;

impl ErofsMeta {
    /// A VMDK descriptor of the whole on one disk, which guests from Linux 5.4 on mount: `head`, which has
    /// [`Self::head`], then `image` without its first block, then the devices. Relative paths are relative to where the
    /// descriptor lies. QEMU takes it as `-drive file=…,format=vmdk,readonly=on`.
    ///
    /// # Errors
    /// [`Error::Unlistable`] for a path with quotes, with line breaks, or of more than 511 bytes.
    pub fn vmdk(&self, head: &Path, image: &Path) -> Result<Vec<u8>> {
        let id = self.devices.iter().map(|device| device.blocks).fold(self.blocks, u32::wrapping_add);
        let mut text = format!(
            "# Disk DescriptorFile\nversion=1\nCID={id:08x}\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n\n\
             # Extent description\n"
        )
        .into_bytes();
        add_extent(&mut text, 1, head, 0)?;
        add_extent(&mut text, u64::from(self.blocks) - 1, image, 1)?;
        for ErofsDevice { path, blocks, .. } in &self.devices {
            add_extent(&mut text, u64::from(*blocks), path, 0)?;
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

fn add_extent(text: &mut Vec<u8>, blocks: u64, path: &Path, from_block: u64) -> Result<()> {
    if blocks > 0 {
        let bytes = extent_path(path)?;
        let per_block = BLOCK / SECTOR;
        text.extend_from_slice(format!("RW {} FLAT \"", blocks * per_block).as_bytes());
        text.extend_from_slice(bytes);
        text.extend_from_slice(format!("\" {}\n", from_block * per_block).as_bytes());
    }
    Ok(())
}

fn listable<'p>(path: &'p Path, but: &[u8]) -> Result<&'p [u8]> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| but.contains(byte)) {
        return Err(Error::Unlistable { path: path.to_owned(), what: "quotes or line breaks" });
    }
    Ok(bytes)
}
