//! EROFS over contents files.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use vmroot_container_fs::ContainerFs;
use vmroot_erofs::{ErofsMeta, write_erofs_meta};

use crate::at::{EROFS_DIRECTORY, EROFS_SOURCE};
use crate::{Error, MountOptions, Mounted, Result};

const FORM: &str = "erofs";
/// Omissions that are named in warnings; further ones are counted.
const SHOWN: usize = 20;

/// Mounts a root, read-only, on a directory. Its metadata goes to a file without a name in the directory `scratch`, a
/// megabyte or two that are gone when the mount is. What EROFS cannot hold is left out, with a warning.
///
/// # Errors
/// [`Error::Mountpoint`]; [`Error::NotPermitted`], [`Error::NoFileSystem`] and [`Error::NoFileBackedMounts`] where the
/// kernel does not do it for this user, or not at all; [`Error::Image`] for a root that EROFS cannot hold; [`Error::Scratch`] and
/// [`Error::Mount`]. Nothing is mounted then.
pub fn mount_erofs(fs: &ContainerFs, scratch: &Path, mountpoint: &Path, options: &MountOptions) -> Result<Mounted> {
    let mountpoint = mountpoint.canonicalize().map_err(Error::mountpoint(mountpoint))?;
    // Before anything is written: who may not mount is told at once.
    let context = open(FORM, &mountpoint)?;
    // Not `tempfile_in`'s fallback to a name of its own making: it is the same, where there is no O_TMPFILE.
    let image = tempfile::tempfile_in(scratch).map_err(Error::scratch(scratch))?;
    let meta = write_erofs_meta(fs, &image)?;
    meta.omissions.check(options.strict, "EROFS").map_err(vmroot_erofs::Error::from)?;
    meta.omissions.lines(SHOWN).iter().for_each(|line| tracing::warn!("{line}"));
    // The table of mounts shows the name by which the kernel was told of the file, for as long as the mount is there. This
    // one says whose it is, and goes when this function returns.
    let names =
        tempfile::Builder::new().prefix(EROFS_DIRECTORY).tempdir_in(scratch).map_err(Error::scratch(scratch))?;
    let name = names.path().join(EROFS_SOURCE);
    symlink(own_name(&image), &name).map_err(Error::scratch(scratch))?;
    let mount = create(&context, &name, fs, &meta, options).map_err(|errno| match errno {
        Errno::NOTBLK => Error::NoFileBackedMounts(scratch.to_owned()),
        errno => Error::mount(FORM, &mountpoint)(errno),
    })?;
    Mounted::attach(&mount, FORM, &mountpoint)
}

/// Begins a mount.
pub(crate) fn open(form: &'static str, mountpoint: &Path) -> Result<OwnedFd> {
    fsopen(form, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| match errno {
        Errno::PERM => Error::NotPermitted(form),
        Errno::NODEV | Errno::NOSYS => Error::NoFileSystem(form),
        errno => Error::mount(form, mountpoint)(errno),
    })
}

fn create(
    context: &OwnedFd,
    image: &Path,
    fs: &ContainerFs,
    meta: &ErofsMeta,
    options: &MountOptions,
) -> rustix::io::Result<OwnedFd> {
    fsconfig_set_flag(context, "ro")?;
    fsconfig_set_string(context, "source", image)?;
    // The files that are open, whatever has their names by now.
    for device in &meta.devices {
        let contents = fs.contents().find(|contents| contents.diff_id == device.diff_id);
        let contents = contents.expect("devices are the root's contents files");
        fsconfig_set_string(context, "device", own_name(&contents.file))?;
    }
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes() | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// A path by which this process, and so the kernel on its behalf, reaches an open file.
fn own_name(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
