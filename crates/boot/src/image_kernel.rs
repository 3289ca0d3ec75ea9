//! The kernel that an image carries.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bstr::{BString, ByteSlice};
use vmroot_container_fs::{ContainerFs, InodeKind, OpenFile};

use crate::{Error, Result};

/// The largest kernel in bytes.
const MAX_KERNEL: u64 = 256 << 20;
/// The largest header of a unified kernel image in bytes, up to the end of its table of sections.
const MAX_HEADER: u64 = 64 << 10;
/// The directories of modules. Each kernel has one below.
const MODULES: [&str; 2] = ["/usr/lib/modules", "/lib/modules"];
/// The section of a unified kernel image with the kernel (the UAPI group's specification of UKIs).
const LINUX: &[u8] = b".linux";

/// A kernel in the root of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageKernel {
    /// The path of its file.
    pub path: BString,
    /// Whether it is a section of a unified kernel image.
    pub is_unified: bool,
}

impl ImageKernel {
    /// Finds the kernel of an image: `/usr/lib/modules/VERSION/vmlinuz`, or else `/boot/vmlinuz-VERSION`, or else a unified
    /// kernel image, which is `/boot/EFI/Linux/NAME.efi` or `/usr/lib/modules/VERSION/NAME.efi`.
    ///
    /// # Errors
    /// - [`Error::NoImageKernel`] if there is none.
    /// - [`Error::SeveralImageKernels`] if there are several of one kind.
    pub fn find(root: &ContainerFs) -> Result<Self> {
        let of_modules = |name: &dyn Fn(&[u8]) -> bool| {
            let trees = MODULES.iter().find(|tree| root.resolve_path(tree.as_bytes()).is_ok());
            let trees = trees.map(|tree| below(root, tree.as_bytes(), InodeKind::Directory)).unwrap_or_default();
            trees
                .iter()
                .flat_map(|tree| below(root, tree, InodeKind::Regular))
                .filter(|path| name(file_name(path)))
                .collect()
        };
        let in_directory = |directory: &str, name: &dyn Fn(&[u8]) -> bool| -> Vec<BString> {
            let files = below(root, directory.as_bytes(), InodeKind::Regular);
            files.into_iter().filter(|path| name(file_name(path))).collect()
        };
        let is_efi = |name: &[u8]| name.ends_with(b".efi");
        let kinds: [(Vec<BString>, bool); 4] = [
            (of_modules(&|name| name == b"vmlinuz"), false),
            (in_directory("/boot", &|name| name.starts_with(b"vmlinuz-")), false),
            (in_directory("/boot/EFI/Linux", &is_efi), true),
            (of_modules(&is_efi), true),
        ];
        for (mut paths, is_unified) in kinds {
            match (paths.pop(), paths.is_empty()) {
                (Some(path), true) => return Ok(Self { path, is_unified }),
                (Some(path), false) => {
                    paths.push(path);
                    return Err(Error::SeveralImageKernels { paths: paths.iter().map(ToString::to_string).collect() });
                }
                (None, _) => {}
            }
        }
        Err(Error::NoImageKernel)
    }

    /// Writes the kernel to a file, for [`Kernel::open`](crate::Kernel::open).
    ///
    /// # Errors
    /// - [`Error::Root`] if the root cannot be read.
    /// - [`Error::ImageKernel`] if the file is too large, or a unified kernel image is malformed.
    /// - [`Error::Io`] if the file cannot be written.
    pub fn write(&self, root: &ContainerFs, to: &mut File, path: &Path) -> Result<()> {
        let failed = |reason| Error::ImageKernel { path: self.path.to_string(), reason };
        let mut file = root.open(&self.path)?;
        let (start, length) = match self.is_unified {
            true => kernel_of_unified(&mut file)
                .map_err(Error::io("read", path))?
                .ok_or_else(|| failed("not a unified kernel image"))?,
            false => (0, file.len()),
        };
        if length > MAX_KERNEL {
            return Err(failed("too large for a kernel"));
        }
        let mut copy = || -> io::Result<u64> {
            file.seek(SeekFrom::Start(start))?;
            let count = io::copy(&mut (&mut file).take(length), to)?;
            to.flush()?;
            Ok(count)
        };
        match copy().map_err(Error::io("write", path))? == length {
            true => Ok(()),
            false => Err(failed("shorter than its header says")),
        }
    }
}

/// Returns the entries of a directory with this kind, in the order of their names. A missing directory has none. Links are
/// not followed, so a kernel with two names counts once.
fn below(root: &ContainerFs, directory: &[u8], kind: InodeKind) -> Vec<BString> {
    let Ok(found) = root.resolve_path(directory) else { return Vec::new() };
    let Ok(entries) = root.readdir(found.ino, 0) else { return Vec::new() };
    let entries = entries.filter(|entry| entry.kind == kind);
    entries.map(|entry| [directory, b"/", entry.name].concat().into()).collect()
}

fn file_name(path: &BString) -> &[u8] {
    path.rsplit_once_str("/").map_or(path.as_bytes(), |(_, name)| name)
}

/// Returns the offset and the length of the kernel in a unified kernel image, which is a PE file (Microsoft's PE format).
fn kernel_of_unified(file: &mut OpenFile) -> io::Result<Option<(u64, u64)>> {
    let mut header = Vec::new();
    file.take(MAX_HEADER).read_to_end(&mut header)?;
    Ok(section(&header, LINUX))
}

/// Returns the offset and the length of a section of a PE file.
fn section(header: &[u8], name: &[u8]) -> Option<(u64, u64)> {
    let word = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
    let half = |at: usize| Some(u16::from_le_bytes(*header.get(at..)?.first_chunk()?));
    let start = usize::try_from(word(0x3c)?).ok()?;
    if !header.starts_with(b"MZ") || header.get(start..start.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let table = start + 24 + usize::from(half(start + 20)?);
    let mut sections = (0..usize::from(half(start + 6)?)).map(|number| table + 40 * number);
    let at =
        sections.find(|at| header.get(*at..*at + 8).is_some_and(|field| field.trim_end_with(|c| c == '\0') == name))?;
    // The length in memory excludes the padding in the file.
    let (length, in_file, offset) = (word(at + 8)?, word(at + 16)?, word(at + 20)?);
    Some((offset.into(), length.min(in_file).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the header of a PE file with one section.
    fn pe(name: &[u8; 8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x40];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[0x3c] = 0x40;
        bytes.extend(b"PE\0\0");
        bytes.extend([0x64, 0x86, 1, 0]);
        bytes.extend([0; 12]);
        bytes.extend([8, 0, 0, 0]);
        bytes.extend([0; 8]);
        bytes.extend(name);
        for word in [100_u32, 0x1000, 512, 4096] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_section_has_an_offset_and_a_length() {
        assert_eq!(section(&pe(b".linux\0\0"), LINUX), Some((4096, 100)));
        assert_eq!(section(&pe(b".linuxes"), LINUX), None);
    }

    #[test]
    fn malformed_files_have_no_section() {
        let whole = pe(b".linux\0\0");
        for length in 0..whole.len() {
            assert_eq!(section(&whole[..length], LINUX), None, "{length}");
        }
        let mut bytes = whole;
        bytes[0x3c..0x40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(section(&bytes, LINUX), None);
    }
}
