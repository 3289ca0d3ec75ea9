//! `/dev/fuse`, mounted.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{getgid, getuid};

use crate::{Error, MountOptions, Result, fusermount};

const DEVICE: &str = "/dev/fuse";

/// The type that mount tables show.
const TYPE: &str = "fuse.vmroot";

/// Opens the device and mounts it: by mount(2) where the caller may, else by the helper.
pub(crate) fn open_mounted(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let device = open().map_err(Error::Device)?;
    match mount_directly(&device, mountpoint, options) {
        Ok(()) => Ok(device),
        Err(Errno::PERM) => fusermount::mount(mountpoint, options),
        Err(Errno::NODEV) => Err(Error::Device(Errno::NODEV.into())),
        Err(error) => Err(Error::Mount { path: mountpoint.to_owned(), source: error.into() }),
    }
}

/// Opens the device for another thread, or to see whether that is allowed.
pub(crate) fn open() -> io::Result<OwnedFd> {
    File::options().read(true).write(true).open(DEVICE).map(OwnedFd::from)
}

fn mount_directly(device: &OwnedFd, mountpoint: &Path, options: &MountOptions) -> rustix::io::Result<()> {
    let mut flags = MountFlags::RDONLY;
    if !options.suid_dev {
        flags |= MountFlags::NOSUID | MountFlags::NODEV;
    }
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let mut data = format!(
        "fd={device},rootmode=40000,user_id={user},group_id={group},default_permissions",
        device = device.as_raw_fd()
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let data = CString::new(data).expect("numbers and words have no NUL");
    mount(options.source.as_str(), mountpoint, TYPE, flags, data.as_c_str())
}

/// Whether the kernel still has the file system that this device serves, in the tree or kept by its users.
pub(crate) fn is_alive(device: &OwnedFd) -> bool {
    let mut descriptors = [PollFd::new(device, PollFlags::empty())];
    let ready = poll(&mut descriptors, Some(&Timespec::default()));
    ready.is_ok_and(|_| !descriptors[0].revents().contains(PollFlags::ERR))
}

/// The device number (major, minor) of what is mounted at a path, without a request to a file system.
pub(crate) fn mounted_at(path: &Path) -> rustix::io::Result<(u32, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    let stat = statx(CWD, path, flags, StatxFlags::empty())?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

/// Whether the file system at a path has lost its server.
pub(crate) fn is_cut_off(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    statx(CWD, path, flags, StatxFlags::BASIC_STATS).err() == Some(Errno::NOTCONN)
}

/// Lets the kernel read files ahead, and so ask for them, by up to 1 MiB instead of 128 KiB. Only root may, and without
/// it sequential reading is about a tenth slower.
pub(crate) fn raise_readahead((major, minor): (u32, u32)) {
    // Nothing depends on it.
    let _ = fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), "1024");
}

/// Whether a file system with this number is mounted anywhere (proc_pid_mountinfo(5)).
pub(crate) fn is_in_tree((major, minor): (u32, u32)) -> bool {
    let number = format!("{major}:{minor}").into_bytes();
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.split(|&byte| byte == b'\n').any(|line| line.split(|&byte| byte == b' ').nth(2) == Some(&number))
}
