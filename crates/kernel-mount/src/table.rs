//! The table of mounts (proc_pid_mountinfo(5)).

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;

pub(crate) const TABLE: &str = "/proc/self/mountinfo";

/// Returns the number of the mount that a path shows.
pub(crate) fn mount_at(path: &Path) -> io::Result<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    Ok(statx(CWD, path, flags, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// Returns whether the mount with this number is in the tree.
pub(crate) fn contains(mount: u64) -> io::Result<bool> {
    let number = mount.to_string();
    let table = fs::read(TABLE)?;
    Ok(table
        .split(|byte| *byte == b'\n')
        .any(|line| line.split(|byte| *byte == b' ').next() == Some(number.as_bytes())))
}

/// Waits until the mount with this number is no longer in the tree.
pub(crate) fn wait_until_gone(mount: u64) -> io::Result<()> {
    // poll(2) on this descriptor reports every change from now on.
    let table = File::open(TABLE)?;
    while contains(mount)? {
        match poll(&mut [PollFd::new(&table, PollFlags::PRI)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
