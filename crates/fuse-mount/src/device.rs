//! The device `/dev/fuse`.

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

/// The file system type that mount tables show.
const TYPE: &str = "fuse.vmroot";

/// Opens and mounts the device: with mount(2) if the caller may, otherwise with the helper.
pub(crate) fn open_mounted(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let device = open().map_err(Error::Device)?;
    match mount_directly(&device, mountpoint, options) {
        Ok(()) => Ok(device),
        Err(Errno::PERM) => fusermount::mount(mountpoint, options),
        Err(Errno::NODEV) => Err(Error::Device(Errno::NODEV.into())),
        Err(error) => Err(Error::Mount { path: mountpoint.to_owned(), source: error.into() }),
    }
}

/// Opens the device for another thread, or to check whether that is permitted.
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

/// Returns whether the kernel still has the file system that this device serves, in the tree or because it is in use.
pub(crate) fn is_alive(device: &OwnedFd) -> bool {
    let mut descriptors = [PollFd::new(device, PollFlags::empty())];
    let ready = poll(&mut descriptors, Some(&Timespec::default()));
    ready.is_ok_and(|_| !descriptors[0].revents().contains(PollFlags::ERR))
}

/// Returns the device number (major, minor) of the file system at a path, without a request to its server.
pub(crate) fn mounted_at(path: &Path) -> rustix::io::Result<(u32, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    let stat = statx(CWD, path, flags, StatxFlags::empty())?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

/// Returns whether the file system at a path has lost its server.
pub(crate) fn has_lost_server(path: &Path) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    statx(CWD, path, flags, StatxFlags::BASIC_STATS).err() == Some(Errno::NOTCONN)
}

/// Raises the kernel's readahead from 128 KiB to 1 MiB. Only root may do so; sequential reads are about 10 % slower
/// without it.
pub(crate) fn raise_readahead((major, minor): (u32, u32)) {
    // An error only makes reads slower.
    let _ = fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), "1024");
}

/// Returns whether a file system with this device number is mounted anywhere (proc_pid_mountinfo(5)).
pub(crate) fn is_in_tree((major, minor): (u32, u32)) -> bool {
    let number = format!("{major}:{minor}").into_bytes();
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    table.split(|&byte| byte == b'\n').any(|line| line.split(|&byte| byte == b' ').nth(2) == Some(&number))
}
