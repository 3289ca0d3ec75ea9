//! An overlay mount that is unmounted when dropped.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use crate::error::{Error, Result};

/// A mounted overlay.
#[derive(Debug)]
pub(super) struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts these directories, topmost first, read-only at `path`.
    pub(super) fn overlay(top_down: &[&Path], path: &Path) -> Result<Self> {
        let lower: Vec<&[u8]> = top_down.iter().map(|directory| directory.as_os_str().as_bytes()).collect();
        let options = [b"lowerdir=", lower.join(&b':').as_slice()].concat();
        let options = std::ffi::CString::new(options).expect("paths have no NUL");
        rustix::mount::mount("overlay", path, "overlay", MountFlags::RDONLY, Some(options.as_c_str()))
            .map_err(Error::io("mount an overlay at", path))?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Returns the mount point.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Detached, because a remaining reader must not block the unmount.
        let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
    }
}
