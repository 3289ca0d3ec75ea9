//! Attributes and xattrs of what lies in a directory of this machine.

use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Stat, fgetxattr, flistxattr, lgetxattr, llistxattr, major, minor};
use rustix::io::{Errno, Result};
use vmroot_container_fs::{InodeKind, Timestamp};
use vmroot_export::Attributes;
use vmroot_output::beneath::path_by_descriptor;

/// The kernel has no longer lists of names and no longer values (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LONGEST: usize = 64 << 10;

/// Something in a directory.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// A file or a directory, by its descriptor.
    Open(BorrowedFd<'a>),
    /// Anything that cannot be opened, or had better not be, by its name in a directory.
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// What stat(2) says, as far as an image holds it. A time is the last change of the contents.
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
        InodeKind::Character | InodeKind::Block => (major(stat.st_rdev), minor(stat.st_rdev)),
        _ => (0, 0),
    };
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let mtime = Timestamp { seconds: stat.st_mtime, nanoseconds };
    Attributes { kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime, device }
}

/// Whether an xattr goes with a file to another machine. Other names are those of file systems (`btrfs.*`,
/// `system.nfs4_acl`), or say what this machine's security modules think of the file.
fn is_portable(name: &[u8]) -> bool {
    const OF_THIS_MACHINE: [&[u8]; 3] = [b"security.selinux", b"security.SMACK64", b"security.evm"];
    let own = [&b"user."[..], b"trusted.", b"security.", b"system.posix_acl_"];
    own.iter().any(|prefix| name.starts_with(prefix)) && !OF_THIS_MACHINE.iter().any(|other| name.starts_with(other))
}

/// The portable xattrs that this process may see, sorted by name; none where the file system has none.
pub(super) fn xattrs(place: Place<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut buffer = vec![0; LONGEST];
    let length = match place.list(&mut buffer) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length?,
    };
    let list = buffer[..length].to_vec();
    let mut xattrs = Vec::new();
    for name in list.split(|&byte| byte == 0).filter(|name| is_portable(name)) {
        match place.get(name, &mut buffer) {
            Ok(length) => xattrs.push((name.to_vec(), buffer[..length].to_vec())),
            // Taken away meanwhile, or listed by a security module that then keeps it to itself.
            Err(Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

impl Place<'_> {
    fn list(self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Open(fd) => flistxattr(fd, buffer),
            Self::Named(directory, name) => llistxattr(path_by_descriptor(directory, name), buffer),
        }
    }

    fn get(self, xattr: &[u8], buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Open(fd) => fgetxattr(fd, xattr, buffer),
            Self::Named(directory, name) => lgetxattr(path_by_descriptor(directory, name), xattr, buffer),
        }
    }
}
