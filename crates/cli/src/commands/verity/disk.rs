//! Disk images: a file, or the files that a VMDK descriptor of `export --format erofs-meta` joins.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use vmroot::verity::{Data, Part};

use crate::exit::TooLong;

/// The first line of a descriptor.
const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile\n";
/// The longest descriptor: 16,000 extents with the longest paths.
const MAX_DESCRIPTOR: u64 = 16 << 20;
/// The unit of the lengths in a descriptor, in bytes.
const SECTOR: u64 = 512;

/// A disk image.
pub(super) struct Disk {
    files: Vec<File>,
    /// The lengths of the files that are used, in bytes.
    lengths: Vec<u64>,
}

impl Disk {
    /// Opens a disk image, for writing if a tree is appended.
    pub(super) fn open(path: &Path, writable: bool) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(writable).open(path).with_context(|| path.display().to_string())?;
        let mut start = Vec::new();
        (&file).take(DESCRIPTOR.len() as u64).read_to_end(&mut start).with_context(|| path.display().to_string())?;
        if start != DESCRIPTOR {
            let length = length_of(&file, path)?;
            return Ok(Self { files: vec![file], lengths: vec![length] });
        }
        let mut text = Vec::new();
        file.take(MAX_DESCRIPTOR + 1).read_to_end(&mut text).with_context(|| path.display().to_string())?;
        if text.len() as u64 > MAX_DESCRIPTOR {
            return Err(TooLong { limit: MAX_DESCRIPTOR }).with_context(|| path.display().to_string());
        }
        Self::of_descriptor(&text, path)
    }

    /// Opens the extents of a descriptor.
    fn of_descriptor(text: &[u8], path: &Path) -> anyhow::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut disk = Self { files: Vec::new(), lengths: Vec::new() };
        for line in text.split(|&byte| byte == b'\n') {
            let Some((length, extent)) = extent(line) else { continue };
            let extent = directory.join(extent);
            let file = File::open(&extent).with_context(|| extent.display().to_string())?;
            // The last extent is the tree itself if it was appended. It may not exist yet, or be longer.
            disk.lengths.push(length);
            disk.files.push(file);
        }
        if disk.files.is_empty() {
            bail!("{}: a VMDK descriptor without whole files as its extents", path.display());
        }
        Ok(disk)
    }

    /// Returns the image for hashing.
    pub(super) fn data(&self) -> Data<'_> {
        let parts = self.files.iter().zip(&self.lengths);
        Data::new(parts.map(|(file, &length)| Part { file, offset: 0, length, leaves: None }))
    }

    /// Returns the only file.
    pub(super) fn single(&self, path: &Path) -> anyhow::Result<&File> {
        match self.files.as_slice() {
            [file] if file.metadata()?.is_file() => Ok(file),
            _ => bail!("{}: --append needs a disk image in one file", path.display()),
        }
    }

    /// Returns the files.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// Returns the length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.lengths.iter().fold(0, |sum, length| sum.saturating_add(*length))
    }
}

/// Returns the length and the path of an extent: `RW|RDONLY SECTORS FLAT "PATH" 0`.
fn extent(line: &[u8]) -> Option<(u64, PathBuf)> {
    let line = line.strip_prefix(b"RW ").or_else(|| line.strip_prefix(b"RDONLY "))?;
    let space = line.iter().position(|&byte| byte == b' ')?;
    let (sectors, rest) = line.split_at(space);
    let sectors: u64 = std::str::from_utf8(sectors).ok()?.parse().ok()?;
    let path = rest.strip_prefix(b" FLAT \"")?.strip_suffix(b"\" 0")?;
    Some((sectors.checked_mul(SECTOR)?, OsStr::from_bytes(path).into()))
}

/// Returns the length in bytes of a file or disk.
pub(super) fn length_of(mut file: &File, path: &Path) -> anyhow::Result<u64> {
    if file.metadata()?.is_dir() {
        bail!("{}: is a directory, not a disk image", path.display());
    }
    // The metadata of a disk has no length.
    file.seek(SeekFrom::End(0)).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_whole_files() {
        assert_eq!(extent(b"RW 16 FLAT \"a b\" 0"), Some((8192, "a b".into())));
        assert_eq!(extent(b"RDONLY 8 FLAT \"/x\" 0"), Some((4096, "/x".into())));
        for line in [&b"RW 16 FLAT \"a\" 8"[..], b"RW 16 SPARSE \"a\"", b"RW x FLAT \"a\" 0", b"", b"CID=1"] {
            assert_eq!(extent(line), None);
        }
    }
}
