//! Disks beside the root: the one that keeps a guest's writes, and volumes.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use vmroot_guest_config::{StageUpper, StageVolume};
use vmroot_output::flock::{Mode, try_flock};

use crate::{Error, Result};

/// The file system of a disk that keeps the writes.
pub(crate) const UPPER_FSTYPE: &str = "ext4";

/// A disk that keeps the writes to a guest's root, in the upper layer of an overlay (`docs/formats/upper.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpperDisk {
    /// The file, a raw disk with an ext4 file system.
    pub path: PathBuf,
    /// The id of the image below. The guest refuses a disk over another one.
    pub image: String,
    /// The name by which the user called the image, for messages.
    pub name: String,
    /// Whether a disk over another image is used, and its record replaced.
    pub rebase: bool,
}

/// A disk that is mounted in a guest's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The file, a raw disk.
    pub disk: PathBuf,
    /// The absolute path of the mount point.
    pub path: String,
    /// The file system on the disk.
    pub file_system: DiskFileSystem,
    /// Whether the guest may only read the disk.
    pub read_only: bool,
}

impl UpperDisk {
    pub(crate) fn stage(&self, device: String) -> StageUpper {
        StageUpper { device, image: self.image.clone(), name: self.name.clone(), rebase: self.rebase }
    }
}

impl Volume {
    pub(crate) fn stage(&self, device: String) -> StageVolume {
        let Self { path, file_system, read_only, .. } = self;
        StageVolume { device, path: path.clone(), fstype: file_system.name().to_owned(), read_only: *read_only }
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.disk.display(), self.path)
    }
}

/// A file system that a volume can have. The guest's kernel must have its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskFileSystem {
    /// ext2, ext3 or ext4, all by the driver of ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// F2FS.
    F2fs,
    /// EROFS, read-only.
    Erofs,
    /// squashfs, read-only.
    Squashfs,
    /// FAT.
    Vfat,
    /// ISO 9660, read-only.
    Iso9660,
}

/// The bytes by which file systems are recognised, and their offsets. All are in headers of Linux's `fs/`.
const MAGIC: [(u64, &[u8], DiskFileSystem); 9] = [
    (1080, &[0x53, 0xef], DiskFileSystem::Ext4),
    (0, b"XFSB", DiskFileSystem::Xfs),
    (0x1_0040, b"_BHRfS_M", DiskFileSystem::Btrfs),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], DiskFileSystem::F2fs),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], DiskFileSystem::Erofs),
    (0, b"hsqs", DiskFileSystem::Squashfs),
    (0x36, b"FAT", DiskFileSystem::Vfat),
    (0x52, b"FAT32", DiskFileSystem::Vfat),
    (0x8001, b"CD001", DiskFileSystem::Iso9660),
];

impl DiskFileSystem {
    /// Returns the file system whose magic number a disk has. Nothing else of the disk is read.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk cannot be read.
    pub fn of(disk: &File, path: &Path) -> Result<Option<Self>> {
        for (offset, magic, file_system) in MAGIC {
            let mut bytes = vec![0; magic.len()];
            match disk.read_exact_at(&mut bytes, offset) {
                Ok(()) if bytes == magic => return Ok(Some(file_system)),
                Ok(()) => {}
                // The disk is shorter.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(Error::io("read", path)(error)),
            }
        }
        Ok(None)
    }

    /// Returns its name, as for mount(2).
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::F2fs => "f2fs",
            Self::Erofs => "erofs",
            Self::Squashfs => "squashfs",
            Self::Vfat => "vfat",
            Self::Iso9660 => "iso9660",
        }
    }

    /// Returns the name of the module with its driver.
    pub(crate) fn driver(self) -> &'static str {
        match self {
            Self::Iso9660 => "isofs",
            other => other.name(),
        }
    }

    /// Returns whether its driver cannot write.
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Erofs | Self::Squashfs | Self::Iso9660)
    }
}

/// A disk that this process uses, and that no other process of vmroot may write at the same time.
#[derive(Debug)]
pub struct LockedDisk {
    file: File,
}

impl LockedDisk {
    /// Opens a disk, which is a file or a block device, and locks it by flock(2): for itself, or shared with other readers if
    /// `read_only` is set. The lock ends with the value, or with the process.
    ///
    /// # Errors
    /// - [`Error::Io`] if the disk cannot be opened.
    /// - [`Error::NotADisk`] if it is neither a file nor a block device.
    /// - [`Error::DiskInUse`] if another process has locked it.
    pub fn open(path: &Path, read_only: bool) -> Result<Self> {
        let file = File::options().read(true).write(!read_only).open(path).map_err(Error::io("open", path))?;
        let kind = file.metadata().map_err(Error::io("look at", path))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(Error::NotADisk { path: path.to_owned() });
        }
        let mode = if read_only { Mode::Shared } else { Mode::Exclusive };
        match try_flock(&file, mode).map_err(Error::io("lock", path))? {
            true => Ok(Self { file }),
            false => Err(Error::DiskInUse { path: path.to_owned() }),
        }
    }

    /// Returns the open file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_recognised_by_their_magic_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        for (offset, magic, expected) in MAGIC {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
            assert_eq!(DiskFileSystem::of(&file, &path).unwrap(), None);
            file.write_all_at(magic, offset).unwrap();
            assert_eq!(DiskFileSystem::of(&file, &path).unwrap(), Some(expected));
        }
    }

    #[test]
    fn a_disk_has_one_writer_or_several_readers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        std::fs::write(&path, "x").unwrap();
        let readers = [LockedDisk::open(&path, true).unwrap(), LockedDisk::open(&path, true).unwrap()];
        let error = LockedDisk::open(&path, false).unwrap_err().to_string();
        assert_eq!(error, format!("{}: in use by another guest or mount", path.display()));
        drop(readers);
        let writer = LockedDisk::open(&path, false).unwrap();
        assert!(matches!(LockedDisk::open(&path, true), Err(Error::DiskInUse { .. })));
        drop(writer);
        assert!(matches!(LockedDisk::open(directory.path(), true), Err(Error::NotADisk { .. })));
        assert!(LockedDisk::open(&directory.path().join("none"), true).is_err());
    }
}
