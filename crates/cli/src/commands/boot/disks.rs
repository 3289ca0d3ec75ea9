//! The disks of a guest beside its root: the one with its writes, and volumes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use vmroot::boot::{DiskFileSystem, LockedDisk, UpperDisk, Volume};

use crate::args::{GuestDiskArguments, VolumeArgument};
use crate::context::OpenedRoot;
use crate::disk_files;
use crate::exit::Advised;

/// The disks of a guest, which stay locked as long as the value exists.
pub(super) struct GuestDisks<'a> {
    arguments: &'a GuestDiskArguments,
    /// The disk of `--upper`. Its image is not known yet.
    pub(super) upper: Option<UpperDisk>,
    pub(super) volumes: Vec<Volume>,
    locks: Vec<LockedDisk>,
}

impl<'a> GuestDisks<'a> {
    /// Opens the disks that exist, before the image is fetched.
    pub(super) fn open(arguments: &'a GuestDiskArguments) -> anyhow::Result<Self> {
        let mut disks = Self { arguments, upper: None, volumes: Vec::new(), locks: Vec::new() };
        if let Some(path) = &arguments.upper {
            let upper = UpperDisk {
                path: std::path::absolute(path)?,
                image: String::new(),
                name: String::new(),
                rebase: arguments.rebase,
            };
            disks.locks.extend(disk_files::open_upper(path)?);
            disks.upper = Some(upper);
        }
        for volume in &arguments.volumes {
            let (lock, volume) = open_volume(volume)?;
            disks.locks.push(lock);
            disks.volumes.push(volume);
        }
        Ok(disks)
    }

    /// Makes a disk for the writes if it is missing, and binds it to the image. Returns it.
    pub(super) fn bind_upper(&mut self, name: &str, opened: &OpenedRoot) -> anyhow::Result<Option<&UpperDisk>> {
        let (Some(upper), Some(path)) = (&mut self.upper, &self.arguments.upper) else { return Ok(None) };
        if !path.exists() {
            self.locks.push(disk_files::create_upper(path, self.arguments.upper_size)?);
        }
        upper.image = opened.base_id();
        name.clone_into(&mut upper.name);
        Ok(Some(upper))
    }
}

fn open_volume(argument: &VolumeArgument) -> anyhow::Result<(LockedDisk, Volume)> {
    let VolumeArgument { disk, path, read_only } = argument;
    let named = || format!("--volume {}:{path}", disk.display());
    let open = || -> anyhow::Result<(LockedDisk, DiskFileSystem)> {
        let lock = LockedDisk::open(disk, *read_only).map_err(vmroot::Error::from)?;
        let found = DiskFileSystem::of(lock.file(), disk).map_err(vmroot::Error::from)?;
        let file_system = found.ok_or_else(|| no_file_system(disk))?;
        if file_system.is_read_only() && !read_only {
            let message = format!("{} cannot be written", file_system.name());
            return Err(Advised::new(message, "`:ro` after the mount point mounts it read-only").into());
        }
        Ok((lock, file_system))
    };
    let (lock, file_system) = open().with_context(named)?;
    let disk: PathBuf = std::path::absolute(disk)?;
    Ok((lock, Volume { disk, path: path.clone(), file_system, read_only: *read_only }))
}

fn no_file_system(disk: &Path) -> Advised {
    let hint = "`mkfs.ext4 FILE` makes one; a disk with partitions is not a volume";
    Advised::new(format!("{}: no file system that vmroot knows", disk.display()), hint)
}
