//! A mount, once it is in the tree.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use crate::{Error, Result, table};

/// A mount in the tree. It stays when this is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    mountpoint: PathBuf,
    number: u64,
}

impl Mounted {
    /// Puts a mount into the tree.
    pub(crate) fn attach(mount: &OwnedFd, form: &'static str, mountpoint: &Path) -> Result<Self> {
        move_mount(mount, "", CWD, mountpoint, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(Error::mount(form, mountpoint))?;
        let number = table::mount_at(mountpoint).map_err(Error::Table)?;
        Ok(Self { mountpoint: mountpoint.to_owned(), number })
    }

    /// Where it is: absolute, without links.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Waits until it is unmounted, by whomever.
    ///
    /// # Errors
    /// [`Error::Table`].
    pub fn wait(&self) -> Result<()> {
        table::wait_until_gone(self.number).map_err(Error::Table)
    }

    /// Takes it out of the tree, also while it is in use: then it ends with its last user. Once it is gone, by whomever,
    /// this does nothing.
    ///
    /// # Errors
    /// [`Error::Unmount`], [`Error::Table`], and [`Error::Covered`] when the mountpoint shows another file system.
    pub fn unmount(&self) -> Result<()> {
        if table::mount_at(&self.mountpoint).ok() != Some(self.number) {
            let covered = table::has(self.number).map_err(Error::Table)?;
            return if covered { Err(Error::Covered { path: self.mountpoint.clone() }) } else { Ok(()) };
        }
        let detach = |flags| unmount(&self.mountpoint, flags | UnmountFlags::NOFOLLOW);
        match detach(UnmountFlags::empty()).or_else(|_| detach(UnmountFlags::DETACH)) {
            // Somebody else was quicker.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(Error::Unmount { path: self.mountpoint.clone(), source: errno.into() }),
        }
    }
}
