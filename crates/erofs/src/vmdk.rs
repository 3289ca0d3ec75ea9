//! VMDK descriptors that join a metadata-only image and its contents files to one disk.
//!
//! The format is that of VMware's "Virtual Disk Format 1.1", as read by QEMU and by `imago`, the library of libkrun.
//!
//! Every extent is a whole file, so its offset in the file is 0. Readers disagree on the unit of that field: it is a
//! sector for QEMU and for imago from 0.2.6 on, and a byte for older versions of imago.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vmroot_output::{Copier, Holes};

use super::format::BLOCK;
use super::meta::{ErofsDevice, ErofsMeta};
use crate::{Error, Result};

/// The unit of extent sizes in bytes.
const SECTOR: u64 = 512;
/// The longest path of an extent that QEMU reads, in bytes.
const MAX_PATH: usize = 511;

/// The access mode that a descriptor gives to its extents. No reader writes to them; readers differ in the modes they
/// accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmdkAccess {
    /// `RW`, for QEMU, which ignores all other extents. imago opens these extents for writing, so the user needs write
    /// permission for the files.
    ReadWrite,
    /// `RDONLY`, for imago and therefore for libkrun.
    ReadOnly,
}

/// A file after the devices of an image on a single disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmdkTail {
    /// The path of the file.
    pub path: PathBuf,
    /// Its length in blocks of 4096 bytes.
    pub blocks: u32,
}

impl ErofsMeta {
    /// Writes the start of the single disk to the empty file `to`: a copy of `image`, with [`Self::head`] as its first
    /// block.
    ///
    /// # Errors
    /// [`Error::Write`] if `image` cannot be read or `to` cannot be written.
    pub fn write_head(&self, image: &File, to: &File) -> Result<()> {
        self.copy_head(image, to).map_err(Error::Write)
    }

    pub(crate) fn copy_head(&self, image: &File, to: &File) -> io::Result<()> {
        let all = 0..u64::from(self.blocks) * BLOCK;
        let _always = Copier::default().copy(&mut Holes::new(image), all, to, |_| ControlFlow::Continue(()))?;
        to.write_all_at(&self.head[..], 0)
    }

    /// Returns a VMDK descriptor of the single disk: the file `head`, which [`Self::write_head`] wrote, then the
    /// devices.
    ///
    /// Guests from Linux 5.4 on mount the disk. QEMU takes the descriptor as `-drive file=…,format=vmdk,readonly=on`.
    /// Relative paths are relative to the directory of the descriptor.
    ///
    /// # Errors
    /// - [`Error::Unlistable`]: a path contains a quote or a line break.
    /// - [`Error::PathTooLong`]: a path has more than 511 bytes.
    pub fn vmdk(&self, head: &Path, access: VmdkAccess) -> Result<Vec<u8>> {
        self.vmdk_with_tail(head, None, access)
    }

    /// Returns a VMDK descriptor like [`Self::vmdk`], with a further file after the devices, such as a hash tree. The
    /// file system does not use it.
    ///
    /// # Errors
    /// The errors of [`Self::vmdk`].
    pub fn vmdk_with_tail(&self, head: &Path, tail: Option<&VmdkTail>, access: VmdkAccess) -> Result<Vec<u8>> {
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
        if let Some(VmdkTail { path, blocks }) = tail {
            add_extent(&mut text, access, *blocks, path)?;
        }
        let blocks = u64::from(self.total_blocks) + tail.map_or(0, |tail| tail.blocks.into());
        let cylinders = (blocks * BLOCK / SECTOR).div_ceil(16 * 63);
        text.extend_from_slice(
            format!(
                "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
                 ddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n"
            )
            .as_bytes(),
        );
        Ok(text)
    }

    /// Returns the paths of the devices, one per line, in the order of the `device=` mount options.
    ///
    /// # Errors
    /// [`Error::Unlistable`] if a path contains a line break.
    pub fn device_list(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for device in &self.devices {
            text.extend_from_slice(path_bytes(&device.path, b"\n")?);
            text.push(b'\n');
        }
        Ok(text)
    }
}

/// Checks that a VMDK descriptor can contain the path of a file.
///
/// # Errors
/// The errors of [`ErofsMeta::vmdk`].
pub fn check_vmdk_path(path: &Path) -> Result<()> {
    extent_path(path).map(drop)
}

fn extent_path(path: &Path) -> Result<&[u8]> {
    let bytes = path_bytes(path, b"\"\r\n")?;
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

/// Returns the bytes of a path.
///
/// # Errors
/// [`Error::Unlistable`] if it contains one of the `forbidden` bytes.
fn path_bytes<'p>(path: &'p Path, forbidden: &[u8]) -> Result<&'p [u8]> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.iter().any(|byte| forbidden.contains(byte)) {
        return Err(Error::Unlistable { path: path.to_owned(), what: "quotes or line breaks" });
    }
    Ok(bytes)
}
