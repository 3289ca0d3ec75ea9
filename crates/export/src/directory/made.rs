//! An inode just made, and the calls that give it its attributes.

use std::ops::Range;

use rustix::fd::BorrowedFd;
use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr, fstat,
    futimens, lsetxattr, statat, utimensat,
};
use rustix::io::{Errno, Result};
use vmroot_container_fs::Timestamp;
use vmroot_output::beneath::path_by_descriptor;

/// Seconds since 1970 of which nothing is lost: those that 31 bits can say, but for the last.
const USUAL_TIMES: Range<i64> = 0..i32::MAX as i64;

/// An inode just made.
#[derive(Clone, Copy)]
pub(super) enum Made<'a> {
    /// A file or a directory, by its descriptor.
    Open(BorrowedFd<'a>),
    /// Anything that cannot be opened, or had better not be, by its name in a directory.
    Named(BorrowedFd<'a>, &'a [u8]),
}

impl Made<'_> {
    /// Clears setuid and setgid bits, and drops `security.capability`.
    pub(super) fn set_owner(self, uid: u32, gid: u32) -> Result<()> {
        // -1 means "leave it" to the kernel: nobody can have it.
        if uid == u32::MAX || gid == u32::MAX {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::Named(directory, name) => chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// Not for symbolic links, which have no mode. A name is that of what was made in a directory that nobody else can
    /// enter: it is no link.
    pub(super) fn set_mode(self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::Named(directory, name) => chmodat(directory, name, mode, AtFlags::empty()),
        }
    }

    pub(super) fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(directory, entry) => {
                lsetxattr(path_by_descriptor(directory, entry), name, value, XattrFlags::empty())
            }
        }
    }

    /// Both times: an image has only one. `ERANGE` where the file system took another time than this: the kernel says
    /// nothing when it does.
    pub(super) fn set_times(self, time: Timestamp) -> Result<()> {
        let spec = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
        let times = Timestamps { last_access: spec, last_modification: spec };
        match self {
            Self::Open(fd) => futimens(fd, &times),
            Self::Named(directory, name) => utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }?;
        // Every file system has these, and looking takes time.
        if USUAL_TIMES.contains(&time.seconds) || self.has_time(time)? { Ok(()) } else { Err(Errno::RANGE) }
    }

    fn has_time(self, time: Timestamp) -> Result<bool> {
        let stat = match self {
            Self::Open(fd) => fstat(fd),
            Self::Named(directory, name) => statat(directory, name, AtFlags::SYMLINK_NOFOLLOW),
        }?;
        Ok((stat.st_mtime, stat.st_mtime_nsec) == (time.seconds, time.nanoseconds.into()))
    }
}
