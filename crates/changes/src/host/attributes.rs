//! Attributes and xattrs of the entries of a directory of this machine.

use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Stat, fgetxattr, flistxattr, lgetxattr, llistxattr, major, minor};
use rustix::io::{Errno, Result};
use vmroot_container_fs::{Device, InodeKind, Timestamp};
use vmroot_export::Attributes;
use vmroot_output::beneath::path_by_descriptor;

use crate::tree::is_portable;

/// The longest name list and the longest value of xattrs that the kernel supports (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_LENGTH: usize = 64 << 10;

/// A way to access an entry of a directory.
#[derive(Clone, Copy)]
pub(super) enum EntryHandle<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A directory and a name in it, for entries that cannot or should not be opened.
    InDirectory(BorrowedFd<'a>, &'a [u8]),
}

/// Converts the result of stat(2). The time is the modification time.
pub(super) fn attributes(stat: &Stat) -> Attributes {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => InodeKind::Directory,
        FileType::Symlink => InodeKind::Symlink,
        FileType::CharacterDevice => InodeKind::Character,
        FileType::BlockDevice => InodeKind::Block,
        FileType::Fifo => InodeKind::Fifo,
        FileType::Socket => InodeKind::Socket,
        FileType::RegularFile | FileType::Unknown => InodeKind::Regular,
    };
    let device = match kind {
        InodeKind::Character | InodeKind::Block => Device { major: major(stat.st_rdev), minor: minor(stat.st_rdev) },
        _ => Device::default(),
    };
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let mtime = Timestamp { seconds: stat.st_mtime, nanoseconds };
    Attributes { kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime, device }
}

/// Returns the portable xattrs that this process can read, sorted by name. Returns none if the file system does not
/// support xattrs.
pub(super) fn xattrs(handle: EntryHandle<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut buffer = vec![0; MAX_LENGTH];
    let length = match handle.list(&mut buffer) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length?,
    };
    let list = buffer[..length].to_vec();
    let mut xattrs = Vec::new();
    for name in list.split(|&byte| byte == 0).filter(|name| is_portable(name)) {
        match handle.get(name, &mut buffer) {
            Ok(length) => xattrs.push((name.to_vec(), buffer[..length].to_vec())),
            // The xattr was removed after it was listed, or a security module lists it and denies reading it.
            Err(Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

impl EntryHandle<'_> {
    fn list(self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Open(fd) => flistxattr(fd, buffer),
            Self::InDirectory(directory, name) => llistxattr(path_by_descriptor(directory, name), buffer),
        }
    }

    fn get(self, xattr: &[u8], buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Open(fd) => fgetxattr(fd, xattr, buffer),
            Self::InDirectory(directory, name) => lgetxattr(path_by_descriptor(directory, name), xattr, buffer),
        }
    }
}
