//! New disks.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, linkat};
use rustix::io::Errno;
use vmroot_container_fs::ContainerFs;
use vmroot_ext4::{self as ext4, Ext4Options, create_ext4, grow_ext4, write_ext4};
use vmroot_output::{Error as FileError, OutputFile, Report, UnnamedFile, directory_of};

use super::lock::{LockMode, lock_disk};
use super::{CreateOptions, Error, Identity, Result};

/// The permission bits of a new disk, minus the umask.
const MODE: u32 = 0o666;
/// The largest disk with a root that keeps all descriptors after the copies of the superblock. A larger one is grown
/// from this size.
const LARGEST_AT_ONCE: u64 = 64 << 30;

/// Creates an empty disk. Its file is sparse, and appears under its name only when it is complete.
///
/// A new file is not synced, which takes longer than all else: the first sync of a guest's writes covers the whole file.
///
/// # Errors
/// - [`Error::Exists`]: the file exists, and [`CreateOptions::replace`] is not set.
/// - [`Error::InUse`]: the file exists, and another process uses it.
/// - [`Error::Ext4`]: the size is too small, or an option is invalid.
/// - [`Error::Io`]: the file cannot be created or written.
pub fn create_disk(path: &Path, options: &CreateOptions<'_>) -> Result<()> {
    let write = |file: &File| {
        let uuid = options.identity.uuid().map_err(FileError::on("make", path))?;
        let journal = options.has_journal();
        let CreateOptions { label, bytes_per_inode, .. } = *options;
        create_ext4(file, options.size, &ext4::CreateOptions { journal, label, uuid, bytes_per_inode })
            .map_err(Error::of(path))
    };
    if path.symlink_metadata().is_err()
        && let Some(file) = UnnamedFile::create_in(directory_of(path), MODE)?
    {
        write(file.file())?;
        return link(&file, path);
    }
    publish(path, options, write)
}

/// Gives a new file its name.
fn link(file: &UnnamedFile, path: &Path) -> Result<()> {
    let own = format!("/proc/self/fd/{}", file.file().as_raw_fd());
    match linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Err(Errno::EXIST) => Err(Error::Exists { path: path.to_owned() }),
        linked => Ok(linked.map_err(FileError::on("write", path))?),
    }
}

/// Creates a disk with a copy of a root. The rest of its size is free.
///
/// `ext4` has the options for the root. Its size, label and journal are those of `options`. The UUID depends on the root
/// and the options, unless `options` has another one; the inodes are those of the root and one for each 16 KiB of free
/// space.
///
/// # Errors
/// As [`create_disk`]; and [`Error::Ext4`] if ext4 cannot hold the root, or the root cannot be read.
pub fn create_disk_from(
    root: &ContainerFs,
    path: &Path,
    options: &CreateOptions<'_>,
    ext4: &Ext4Options<'_>,
) -> Result<Report> {
    publish(path, options, |file| {
        let journal = options.has_journal();
        let at_once =
            Ext4Options { size: Some(options.size.min(LARGEST_AT_ONCE)), journal, label: options.label, ..*ext4 };
        let written = match write_ext4(root, file, &at_once) {
            Err(ext4::Error::TooSmall { .. }) if options.size > LARGEST_AT_ONCE => {
                write_ext4(root, file, &Ext4Options { size: Some(options.size), ..at_once })
            }
            written => written,
        };
        let mut report = written.map_err(Error::of(path))?;
        if report.bytes < options.size {
            grow_ext4(file, options.size).map_err(Error::of(path))?;
            report.bytes = options.size;
        }
        if let Some(uuid) = options.identity.uuid().map_err(FileError::on("make", path))? {
            ext4::set_uuid(file, uuid).map_err(Error::of(path))?;
        }
        Ok(report)
    })
}

/// Writes a new file, and gives it its name.
fn publish<R>(path: &Path, options: &CreateOptions<'_>, write: impl FnOnce(&File) -> Result<R>) -> Result<R> {
    // The lock is held until the file is replaced.
    let _replaced = replaced(path, options.replace)?;
    let output = OutputFile::create(path)?;
    let written = write(output.file())?;
    output.commit()?;
    Ok(written)
}

/// Checks that a new file may have this name. Returns the lock of the file that it replaces.
pub(super) fn replaced(path: &Path, replace: bool) -> Result<Option<super::DiskLock>> {
    match path.symlink_metadata() {
        Err(_) => Ok(None),
        Ok(_) if !replace => Err(Error::Exists { path: path.to_owned() }),
        Ok(metadata) if metadata.is_file() => lock_disk(path, LockMode::Write).map(Some),
        Ok(_) => Ok(None),
    }
}

impl Identity {
    /// Returns the UUID, unless it is derived.
    pub(super) fn uuid(self) -> std::io::Result<Option<[u8; 16]>> {
        use std::io::Read as _;
        match self {
            Self::Derived => Ok(None),
            Self::Uuid(uuid) => Ok(Some(uuid)),
            Self::Random => {
                let mut uuid = [0; 16];
                File::open("/dev/urandom")?.read_exact(&mut uuid)?;
                // Version 4 of RFC 9562.
                uuid[6] = uuid[6] & 0x0f | 0x40;
                uuid[8] = uuid[8] & 0x3f | 0x80;
                Ok(Some(uuid))
            }
        }
    }
}
