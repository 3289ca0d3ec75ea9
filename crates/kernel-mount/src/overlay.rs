//! Mounts writable views of roots with overlayfs.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, fsconfig_create, fsconfig_set_string, fsmount};
use vmroot_sys::call_in_directory;

use crate::options::mount_attributes;
use crate::source::kernel_source;
use crate::{Error, MountOptions, Mounted, Result, attributes, erofs};

const FORM: &str = "overlay";

/// The directories of a writable view. Missing ones are created, with their parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper<'a> {
    /// The directory that keeps the changes between mounts. Its file system must not be an overlayfs.
    pub upper: &'a Path,
    /// An empty directory on the same file system, for use by overlayfs.
    pub work: &'a Path,
}

/// Mounts a writable view of the root at `lower` on a directory.
///
/// The mount keeps the file system at `lower` in use until it ends, so `lower` may be unmounted at once. `upper`
/// receives all changes in full: files are copied up whole, and directories are not renamed by reference.
///
/// An empty `upper` that was not used before gets the attributes of the root directory, because the view shows the
/// attributes of `upper`. Created directories are removed again if the mount fails.
///
/// # Errors
/// - [`Error::Mountpoint`]: one of the directories cannot be used.
/// - [`Error::NotPermitted`]: the caller may not mount.
/// - [`Error::NoFileSystem`]: the kernel has no overlayfs.
/// - [`Error::Mount`]: the kernel rejects the mount.
/// - [`Error::Table`]: the table of mounts cannot be read.
pub fn mount_overlay(lower: &Path, upper: Upper<'_>, mountpoint: &Path, options: &MountOptions) -> Result<Mounted> {
    let context = open_context(mountpoint)?;
    let mountpoint = mountpoint.canonicalize().map_err(Error::mountpoint(mountpoint))?;
    let lower = Directory::open(lower)?;
    let mut created = CreatedDirectories::default();
    for path in [upper.upper, upper.work] {
        created.create(path).map_err(Error::mountpoint(path))?;
    }
    let (upper, work) = (Directory::open(upper.upper)?, Directory::open(upper.work)?);
    attributes::copy_once(lower.descriptor.as_fd(), upper.descriptor.as_fd())
        .map_err(Error::mountpoint(&upper.path))?;
    // Mount tables show the path of the lower directory that the kernel received. A relative path identifies the mount,
    // and the path of the root means nothing once it is unmounted there.
    let (parent, name) = lower.relative();
    let create = || {
        fsconfig_set_string(&context, "source", kernel_source(&options.source))?;
        fsconfig_set_string(&context, "lowerdir", name)?;
        fsconfig_set_string(&context, "upperdir", upper.name())?;
        fsconfig_set_string(&context, "workdir", work.name())?;
        // Readers of the upper directory do not support files whose data or names are in the lower directory. `off` for
        // `redirect_dir` would follow redirects on some kernels.
        fsconfig_set_string(&context, "metacopy", "off")?;
        fsconfig_set_string(&context, "redirect_dir", "nofollow")?;
        fsconfig_set_string(&context, "index", "off")?;
        fsconfig_set_string(&context, "xino", "off")?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, mount_attributes(options))
    };
    let mount = call_in_directory(&parent, create).map_err(Error::mount(FORM, &mountpoint))?;
    let mount = mount.map_err(Error::mount(FORM, &mountpoint))?;
    let mounted = Mounted::attach(&mount, FORM, &mountpoint)?;
    created.keep();
    Ok(mounted)
}

/// Checks that the caller may mount a writable view on an existing directory. Nothing is created or mounted.
///
/// # Errors
/// - [`Error::Mountpoint`]: the directory cannot be used.
/// - [`Error::NotPermitted`]: the caller may not mount.
/// - [`Error::NoFileSystem`]: the kernel has no overlayfs.
pub fn check_overlay(mountpoint: &Path) -> Result<()> {
    open_context(mountpoint).map(drop)
}

fn open_context(mountpoint: &Path) -> Result<OwnedFd> {
    let resolved = Directory::open(mountpoint)?;
    erofs::new_context(FORM, &resolved.path)
}

/// Directories that were created for a mount. They are removed on drop.
#[derive(Default)]
struct CreatedDirectories(Vec<PathBuf>);

impl CreatedDirectories {
    fn create(&mut self, path: &Path) -> io::Result<()> {
        let is_missing =
            |path: &&Path| matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
        let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        for directory in missing.into_iter().rev().filter(|directory| !directory.as_os_str().is_empty()) {
            // Other users have no access until the upper directory has the attributes of the root directory.
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

impl Drop for CreatedDirectories {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            // overlayfs creates a directory with this name in its work directory. Files of other programs are kept.
            let _ = fs::remove_dir(directory.join("work"));
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A directory that is passed to overlayfs.
struct Directory {
    path: PathBuf,
    descriptor: OwnedFd,
}

impl Directory {
    fn open(path: &Path) -> Result<Self> {
        let resolved = path.canonicalize().map_err(Error::mountpoint(path))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(&resolved, flags, Mode::empty()).map_err(Error::mountpoint(path))?;
        Ok(Self { path: resolved, descriptor })
    }

    /// Returns the path, which the table of mounts shows. If the path contains bytes with a meaning in mount options,
    /// which differs between kernels, returns a path to the open descriptor instead.
    fn name(&self) -> PathBuf {
        if is_special(self.path.as_os_str()) { self.descriptor_path() } else { self.path.clone() }
    }

    /// Returns a directory and the path of this one from there, of one component. If the name contains bytes with a
    /// meaning in mount options, returns a path to the open descriptor instead.
    fn relative(&self) -> (PathBuf, PathBuf) {
        match (self.path.parent(), self.path.file_name()) {
            (Some(parent), Some(name)) if !is_special(name) => (parent.to_owned(), name.into()),
            _ => (PathBuf::from("/"), self.descriptor_path()),
        }
    }

    fn descriptor_path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.descriptor.as_raw_fd()).into()
    }
}

/// Returns whether a name contains bytes with a meaning in mount options.
fn is_special(name: &OsStr) -> bool {
    name.as_bytes().iter().any(|byte| b":,\\".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_special_bytes_are_passed_by_descriptor() {
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
