//! Reading an ext4 disk that a guest wrote, without a mount.
//!
//! The root user of the guest can write every block of the disk, so it is as little trusted as an image. A directory with
//! two names is refused, because it may lead into a cycle. What a walk holds in memory has limits, and so have the bytes
//! of all files together, which may be holes.

mod walk;

use std::fs::File;
use std::path::{Path, PathBuf};

use vmroot_container_fs::InodeKind;
use vmroot_ext4::{Ext4Reader, Inode, ReadError, ReadOptions, Replayed, open_replayed};
use vmroot_output::flock::{Mode, try_flock};

use crate::{Error, Result};

pub use walk::{DiskFile, DiskWalk};

/// The directory of a disk with the upper directory of an overlay.
pub(crate) const UPPER: &[u8] = b"upper";
/// The names in the top directory of a disk that keeps the writes of a guest (`docs/formats/upper.md`).
const NAMES: [&[u8]; 4] = [UPPER, b"work", b"vmroot.json", LOST_AND_FOUND];
/// The directory that mke2fs makes for e2fsck.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";
/// The most bytes of the record of an image on a disk.
const RECORD_LIMIT: u64 = 64 << 10;

/// An ext4 disk, as it is after the replay of its journal. Nothing is written to it.
#[derive(Debug)]
pub struct Disk {
    reader: Ext4Reader<Replayed<File>>,
    path: PathBuf,
}

impl Disk {
    /// Opens the disk in a file or block device.
    ///
    /// # Errors
    /// - [`Error::Io`]: the file cannot be opened.
    /// - [`Error::DiskInUse`]: a process has locked the file (flock(2)) to write to the disk.
    /// - [`Error::Disk`]: the file is not an ext4 file system, or the file system is damaged or not supported.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(vmroot_output::Error::on("open", path))?;
        // The lock is that of the open file, so it lasts as long as the reader.
        if !try_flock(&file, Mode::Shared).map_err(vmroot_output::Error::on("lock", path))? {
            return Err(Error::DiskInUse(path.to_owned()));
        }
        let reader = open_replayed(file, &ReadOptions::default());
        let reader = reader.map_err(|source| Error::Disk { path: path.to_owned(), source })?;
        Ok(Self { reader, path: path.to_owned() })
    }

    /// Returns the path of the disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the reader of the file system.
    pub fn reader(&self) -> &Ext4Reader<Replayed<File>> {
        &self.reader
    }

    /// Returns whether the disk keeps the writes of a guest in an upper directory: its top directory has the
    /// directories `upper` and `work`, and besides them only the record of the image and `lost+found`.
    ///
    /// # Errors
    /// [`Error::Disk`]: the disk cannot be read, or is damaged.
    pub fn has_upper(&self) -> Result<bool> {
        self.read(|reader| {
            let entries = reader.read_directory(&reader.root()?)?;
            let is_directory = |name: &[u8]| match entries.iter().find(|entry| entry.name == name) {
                Some(entry) => Ok::<bool, ReadError>(reader.inode(entry.inode)?.kind() == InodeKind::Directory),
                None => Ok(false),
            };
            let has_others = entries.iter().any(|entry| !NAMES.contains(&entry.name.as_slice()));
            Ok(!has_others && is_directory(UPPER)? && is_directory(b"work")?)
        })
    }

    /// Returns the bytes of `vmroot.json`, the record of the image that the disk belongs to, if there is one.
    ///
    /// # Errors
    /// [`Error::Disk`]: the disk cannot be read, or is damaged, or the record is not a file or too long.
    pub fn record(&self) -> Result<Option<Vec<u8>>> {
        self.read(|reader| {
            let Some(inode) = reader.lookup(&reader.root()?, b"vmroot.json")? else { return Ok(None) };
            if inode.kind() != InodeKind::Regular || inode.size() > RECORD_LIMIT {
                return Err(ReadError::WrongKind { path: "vmroot.json".into(), what: "not the record of an image" });
            }
            let mut bytes = vec![0; inode.size() as usize];
            reader.open_file(&inode)?.read_exact_at(&mut bytes, 0)?;
            Ok(Some(bytes))
        })
    }

    /// Starts a walk over the directory at `path`. Symbolic links are not followed.
    ///
    /// # Errors
    /// [`Error::Disk`]: there is no such directory, or the disk cannot be read or is damaged.
    pub fn walk(&self, path: &[u8]) -> Result<DiskWalk<'_>> {
        let start: Inode = self.read(|reader| reader.resolve(path, false))?;
        Ok(DiskWalk::new(self, path, start))
    }

    /// Reads the file system, and adds the path of the disk to an error.
    ///
    /// # Errors
    /// [`Error::Disk`] with the error of `read`.
    pub fn read<'a, T>(
        &'a self,
        read: impl FnOnce(&'a Ext4Reader<Replayed<File>>) -> std::result::Result<T, ReadError>,
    ) -> Result<T> {
        read(&self.reader).map_err(|source| Error::Disk { path: self.path.clone(), source })
    }
}
