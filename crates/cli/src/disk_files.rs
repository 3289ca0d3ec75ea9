//! The files of disks that keep the writes to a root, of `boot` and `mount`.

use std::path::Path;

use anyhow::Context as _;
use vmroot::boot::{DiskFileSystem, LockedDisk};

use crate::exit::Advised;

/// Opens and locks the disk of `--upper`. Returns `None` if it is missing.
pub(crate) fn open_upper(path: &Path) -> anyhow::Result<Option<LockedDisk>> {
    let named = || format!("--upper {}", path.display());
    if matches!(path.try_exists(), Ok(false)) {
        crate::paths::check_file(path)?;
        return Ok(None);
    }
    if path.is_dir() {
        let message = format!("--upper {}: a directory, and a guest writes to a disk", path.display());
        return Err(Advised::usage(message, "name a file; it is made if it is missing").into());
    }
    let lock = LockedDisk::open(path, false).map_err(vmroot::Error::from).with_context(named)?;
    match DiskFileSystem::of(lock.file(), path).map_err(vmroot::Error::from).with_context(named)? {
        Some(DiskFileSystem::Ext4) => Ok(Some(lock)),
        found => {
            let found = found.map_or("no file system that vmroot knows", DiskFileSystem::name);
            let message = format!("--upper {}: has {found}, and not ext4", path.display());
            Err(Advised::new(message, "name a new file, which is then made; or make one with `mkfs.ext4 FILE`").into())
        }
    }
}

/// Makes and locks the disk of `--upper`, an empty ext4 of `size` bytes.
pub(crate) fn create_upper(path: &Path, size: u64) -> anyhow::Result<LockedDisk> {
    let _ = size;
    let message = format!("--upper {}: no such disk", path.display());
    Err(Advised::not_found(message, "`truncate -s 8G FILE && mkfs.ext4 FILE` makes one").into())
}
