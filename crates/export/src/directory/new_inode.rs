//! Setting the attributes of a new inode.

use std::ops::Range;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmod, chmodat, chownat, fchmod, fchown,
    fsetxattr, fstat, futimens, lsetxattr, openat, statat, utimensat,
};
use rustix::io::{Errno, Result};
use vmroot_container_fs::Timestamp;
use vmroot_output::beneath::path_by_descriptor;

/// Times in seconds since 1970 that every file system can hold: 31 bits, without the last value.
const COMMON_TIMES: Range<i64> = 0..i32::MAX as i64;

/// An inode that was just created.
#[derive(Clone, Copy)]
pub(super) enum NewInode<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A directory and a name in it, for inodes that cannot or should not be opened.
    InDirectory(BorrowedFd<'a>, &'a [u8]),
}

impl NewInode<'_> {
    /// Sets owner and group. The kernel clears setuid and setgid bits and removes `security.capability`.
    pub(super) fn set_owner(self, uid: u32, gid: u32) -> Result<()> {
        // For the kernel, -1 means no change. No inode can have this id.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::InDirectory(directory, name) => chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// Returns owner and group.
    pub(super) fn owner(self) -> Result<(u32, u32)> {
        let stat = match self {
            Self::Open(fd) => fstat(fd),
            Self::InDirectory(directory, name) => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW),
        }?;
        Ok((stat.st_uid, stat.st_gid))
    }

    /// Sets the mode. Not for symbolic links, which have none.
    ///
    /// Another user may write to a directory that existed before, and replace the name by a link. So the mode is set
    /// through a descriptor, for which chmod(2) needs procfs.
    pub(super) fn set_mode(self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::InDirectory(directory, name) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = openat(directory, name, flags, Mode::empty())?;
                match chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode) {
                    // Without procfs.
                    Err(Errno::NOENT) => chmodat(directory, name, mode, AtFlags::empty()),
                    result => result,
                }
            }
        }
    }

    pub(super) fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::InDirectory(directory, entry) => {
                lsetxattr(path_by_descriptor(directory, entry), name, value, XattrFlags::empty())
            }
        }
    }

    /// Sets both times to `time`, because an image has only one.
    ///
    /// Returns `ERANGE` if the file system stored another time, which the kernel does not report.
    pub(super) fn set_times(self, time: Timestamp) -> Result<()> {
        let spec = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
        let times = Timestamps { last_access: spec, last_modification: spec };
        match self {
            Self::Open(fd) => futimens(fd, &times),
            Self::InDirectory(directory, name) => utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }?;
        // Every file system supports these times, so the check is skipped to save time.
        if COMMON_TIMES.contains(&time.seconds) || self.has_time(time)? { Ok(()) } else { Err(Errno::RANGE) }
    }

    fn has_time(self, time: Timestamp) -> Result<bool> {
        let stat = match self {
            Self::Open(fd) => fstat(fd),
            Self::InDirectory(directory, name) => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW),
        }?;
        Ok((stat.st_mtime, stat.st_mtime_nsec) == (time.seconds, time.nanoseconds.into()))
    }
}
