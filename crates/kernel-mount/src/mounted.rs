//! A mount in the tree.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use crate::{Error, Result, table};

/// A mount in the tree. Dropping this does not unmount it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    mountpoint: PathBuf,
    number: u64,
}

impl Mounted {
    /// Attaches a mount to the tree.
    pub(crate) fn attach(mount: &OwnedFd, form: &'static str, mountpoint: &Path) -> Result<Self> {
        move_mount(mount, "", CWD, mountpoint, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(Error::mount(form, mountpoint))?;
        let number = table::mount_at(mountpoint).map_err(Error::Table)?;
        Ok(Self { mountpoint: mountpoint.to_owned(), number })
    }

    /// Returns the absolute path of the mountpoint, without symlinks.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Waits until the mount is unmounted, by any process.
    ///
    /// # Errors
    /// [`Error::Table`] if the table of mounts cannot be read.
    pub fn wait(&self) -> Result<()> {
        table::wait_until_gone(self.number).map_err(Error::Table)
    }

    /// Removes the mount from the tree, even while it is in use. A busy mount ends with its last user. Does nothing if
    /// the mount is already gone.
    ///
    /// # Errors
    /// - [`Error::Unmount`]: the kernel rejects it.
    /// - [`Error::Table`]: the table of mounts cannot be read.
    /// - [`Error::Covered`]: the mountpoint shows another file system.
    pub fn unmount(&self) -> Result<()> {
        if table::mount_at(&self.mountpoint).ok() != Some(self.number) {
            let covered = table::contains(self.number).map_err(Error::Table)?;
            return if covered { Err(Error::Covered { path: self.mountpoint.clone() }) } else { Ok(()) };
        }
        let detach = |flags| unmount(&self.mountpoint, flags | UnmountFlags::NOFOLLOW);
        match detach(UnmountFlags::empty()).or_else(|_| detach(UnmountFlags::DETACH)) {
            // Another process has unmounted it in the meantime.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(Error::Unmount { path: self.mountpoint.clone(), source: errno.into() }),
        }
    }
}
