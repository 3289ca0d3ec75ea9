//! Mounts disks with an ext4, such as the ones that keep the writes of guests.

use std::fs::File;
use std::path::Path;

use rustix::mount::{FsMountFlags, fsconfig_create, fsconfig_set_string, fsmount};
use vmroot_sys::LoopDevice;

use crate::options::mount_attributes;
use crate::{Error, MountOptions, Mounted, Result, erofs};

const FORM: &str = "ext4";

/// Mounts an open disk, a file with an ext4, on a directory.
///
/// The kernel reads the disk with its own ext4, so its contents must be trusted as far as that is. The mount keeps the file
/// open, and with it a lock of flock(2) on the open file, until its file system is not used any more.
///
/// # Errors
/// - [`Error::NotPermitted`]: the caller may not mount.
/// - [`Error::NoFileSystem`]: the kernel has no ext4.
/// - [`Error::Loop`]: there is no loop device.
/// - [`Error::Mount`]: the kernel rejects the mount.
/// - [`Error::Table`]: the table of mounts cannot be read.
pub fn mount_disk(disk: &File, mountpoint: &Path, options: &MountOptions) -> Result<Mounted> {
    let context = erofs::new_context(FORM, mountpoint)?;
    let device = LoopDevice::attach(disk, false).map_err(Error::Loop)?;
    let create = || {
        fsconfig_set_string(&context, "source", device.path())?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, mount_attributes(options))
    };
    let mount = create().map_err(Error::mount(FORM, mountpoint))?;
    Mounted::attach(&mount, FORM, mountpoint)
}
