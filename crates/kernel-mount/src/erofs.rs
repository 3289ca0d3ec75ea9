//! Mounts EROFS metadata over contents files.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use vmroot_container_fs::ContainerFs;
use vmroot_erofs::{ErofsMeta, ErofsMetaOptions, write_erofs_meta};
use vmroot_output::TemporaryDirectory;
use vmroot_sys::call_in_directory;

use crate::options::mount_attributes;
use crate::source::kernel_source;
use crate::{Error, MountOptions, Mounted, Result};

const FORM: &str = "erofs";
/// The most omissions that are listed in warnings. The others are counted.
const MAX_LISTED: usize = 20;

/// Mounts a root read-only on a directory.
///
/// The metadata, usually one or two megabytes, is written to an unnamed file in the directory `scratch`, which
/// disappears with the mount. Attributes that EROFS cannot hold are left out, with a warning. Nothing is mounted
/// if this fails.
///
/// # Errors
/// - [`Error::Mountpoint`]: the mountpoint cannot be resolved.
/// - [`Error::NotPermitted`]: the caller may not mount.
/// - [`Error::NoFileSystem`]: the kernel has no EROFS.
/// - [`Error::NoFileBackedMounts`]: the kernel cannot mount EROFS from files, or not from files in `scratch`.
/// - [`Error::Image`]: EROFS cannot hold the root, or not completely with [`MountOptions::strict`].
/// - [`Error::Scratch`]: `scratch` cannot be written.
/// - [`Error::Mount`]: the kernel rejects the mount.
/// - [`Error::Table`]: the table of mounts cannot be read.
pub fn mount_erofs(fs: &ContainerFs, scratch: &Path, mountpoint: &Path, options: &MountOptions) -> Result<Mounted> {
    let mountpoint = mountpoint.canonicalize().map_err(Error::mountpoint(mountpoint))?;
    // Fails before anything is written if the caller may not mount.
    let context = new_context(FORM, &mountpoint)?;
    // `tempfile_in` falls back to a named file that it removes at once if there is no `O_TMPFILE`, which is equivalent.
    let image = tempfile::tempfile_in(scratch).map_err(Error::scratch(scratch))?;
    let strict = options.strict;
    let meta = write_erofs_meta(fs, &image, &ErofsMetaOptions { strict, ..ErofsMetaOptions::default() })?;
    meta.report.omissions.lines(MAX_LISTED).iter().for_each(|line| tracing::warn!("{line}"));
    // Mount tables show the path that the kernel received, for as long as the mount exists. A relative path identifies
    // the mount and the image. It is removed when this function returns.
    let names = TemporaryDirectory::create_in(scratch).map_err(|error| Error::scratch(scratch)(error.source))?;
    let name = kernel_source(&options.source);
    link(&descriptor_path(&image), &names.path().join(&name)).map_err(Error::scratch(scratch))?;
    let create = || create(&context, &name, fs, &meta, options);
    let created = call_in_directory(names.path(), create).map_err(Error::mount(FORM, &mountpoint))?;
    let mount = created.map_err(|errno| match errno {
        Errno::NOTBLK => Error::NoFileBackedMounts(scratch.to_owned()),
        errno => Error::mount(FORM, &mountpoint)(errno),
    })?;
    Mounted::attach(&mount, FORM, &mountpoint)
}

/// Creates a symbolic link, and its missing parents.
fn link(target: &Path, link: &Path) -> io::Result<()> {
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    symlink(target, link)
}

/// Creates a mount context for a file system.
pub(crate) fn new_context(form: &'static str, mountpoint: &Path) -> Result<OwnedFd> {
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
    // By descriptor, because the names can belong to other files by now.
    for device in &meta.devices {
        let contents = fs.contents().find(|contents| contents.diff_id == device.diff_id);
        let contents = contents.expect("devices are the root's contents files");
        fsconfig_set_string(context, "device", descriptor_path(&contents.file))?;
    }
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, mount_attributes(options) | MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Returns a path by which this process, and the kernel on its behalf, can open an open file.
fn descriptor_path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
