//! A writable view of a root: overlayfs.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, fsconfig_create, fsconfig_set_string, fsmount};

use crate::at::overlay_source;
use crate::{Error, MountOptions, Mounted, Result, attributes, erofs};

const FORM: &str = "overlay";

/// Where changes of a writable view go. A directory that is missing is made, and the missing ones above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper<'a> {
    /// The changes, from one mount to the next: a directory on a file system that is no overlayfs itself.
    pub upper: &'a Path,
    /// An empty directory on the same file system, which overlayfs works in.
    pub work: &'a Path,
}

/// Mounts a writable view of the root at `lower` on a directory.
///
/// The mount holds on to the file system at `lower`, which may be unmounted at once: it ends when this mount does. What
/// is changed is in `upper` as a whole: files are copied there whole, and directories cannot be renamed by reference.
/// An `upper` that holds nothing and was no view's before gets the attributes of the root directory, which are the ones
/// that the view shows. Directories that were made are removed again when the mount fails.
///
/// # Errors
/// [`Error::Mountpoint`] for any of the directories, [`Error::NotPermitted`], [`Error::NoFileSystem`], and
/// [`Error::Mount`].
pub fn mount_overlay(lower: &Path, upper: Upper<'_>, mountpoint: &Path, options: &MountOptions) -> Result<Mounted> {
    let context = begin(mountpoint)?;
    let mountpoint = mountpoint.canonicalize().map_err(Error::mountpoint(mountpoint))?;
    let lower = Directory::open(lower)?;
    let mut made = MadeDirectories::default();
    for path in [upper.upper, upper.work] {
        made.make(path).map_err(Error::mountpoint(path))?;
    }
    let (upper, work) = (Directory::open(upper.upper)?, Directory::open(upper.work)?);
    attributes::take(lower.descriptor.as_fd(), upper.descriptor.as_fd()).map_err(Error::mountpoint(&upper.path))?;
    let create = || {
        fsconfig_set_string(&context, "source", overlay_source(&lower.name()))?;
        fsconfig_set_string(&context, "lowerdir", lower.name())?;
        fsconfig_set_string(&context, "upperdir", upper.name())?;
        fsconfig_set_string(&context, "workdir", work.name())?;
        // Whoever reads the upper directory need not know of files that are only half there, or elsewhere, or that have
        // names in the lower one.
        fsconfig_set_string(&context, "metacopy", "off")?;
        fsconfig_set_string(&context, "redirect_dir", "off")?;
        fsconfig_set_string(&context, "index", "off")?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes())
    };
    let mount = create().map_err(Error::mount(FORM, &mountpoint))?;
    let mounted = Mounted::attach(&mount, FORM, &mountpoint)?;
    made.keep();
    Ok(mounted)
}

/// Whether this user may mount a writable view on a directory that is there; nothing is made or mounted.
///
/// # Errors
/// [`Error::Mountpoint`], [`Error::NotPermitted`] and [`Error::NoFileSystem`], as [`mount_overlay`] has them.
pub fn check_overlay(mountpoint: &Path) -> Result<()> {
    begin(mountpoint).map(drop)
}

fn begin(mountpoint: &Path) -> Result<OwnedFd> {
    let whole = Directory::open(mountpoint)?;
    erofs::open(FORM, &whole.path)
}

/// Directories that were made for a mount. Dropped, they are removed.
#[derive(Default)]
struct MadeDirectories(Vec<PathBuf>);

impl MadeDirectories {
    fn make(&mut self, path: &Path) -> io::Result<()> {
        let is_missing =
            |path: &&Path| matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
        let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        for directory in missing.into_iter().rev().filter(|directory| !directory.as_os_str().is_empty()) {
            // Other users see no changes until the upper directory has the attributes of the root directory.
            let mode = if directory == path { 0o700 } else { 0o777 };
            DirBuilder::new().mode(mode).create(directory)?;
            self.0.push(directory.to_owned());
        }
        Ok(())
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            // overlayfs has a directory of this name in the one that it works in. Files of other programs stay.
            let _ = fs::remove_dir(directory.join("work"));
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A directory that overlayfs is told of.
struct Directory {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Directory {
    fn open(path: &Path) -> Result<Self> {
        let whole = path.canonicalize().map_err(Error::mountpoint(path))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(&whole, flags, Mode::empty()).map_err(Error::mountpoint(path))?;
        Ok(Self { path: whole, descriptor })
    }

    /// Its path, which the table of mounts will show; or, where that has bytes that mean something in an option, and not
    /// the same to every kernel, one by which the kernel reaches what is open.
    fn name(&self) -> PathBuf {
        if self.path.as_os_str().as_bytes().iter().any(|byte| b":,\\".contains(byte)) {
            format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()).into()
        } else {
            self.path.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_a_meaning_in_options_are_not_said() {
        let place = tempfile::tempdir().unwrap();
        let name = |name: &str| {
            let path = place.path().join(name);
            std::fs::create_dir(&path).unwrap();
            Directory::open(&path).unwrap().name()
        };
        assert_eq!(name("plain"), place.path().canonicalize().unwrap().join("plain"));
        for odd in ["a:b", "a,b", "a\\b"] {
            assert!(name(odd).starts_with("/proc/self/fd"));
        }
    }
}
