//! What a new upper directory takes from the root directory that it stands for: an overlay shows the attributes of its
//! upper directory, and a layer that is made of it has them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{
    Gid, Mode, OFlags, RawDir, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fsetxattr,
    fstat, futimens, openat,
};
use rustix::io::{Errno, Result};

/// overlayfs's own, which it shows to nobody, and which no layer has.
const OWN: &[u8] = b"trusted.overlay.";
/// An upper directory with this has taken them before, and what it has now is somebody's change.
const TAKEN: &str = "trusted.overlay.vmroot.taken";
/// Bytes of the longest list of xattrs, and of the longest value, that Linux has.
const MAX_XATTR: usize = 64 << 10;

/// Gives the directory `to` owner, mode, xattrs and time of the directory `from`, if it holds nothing and never did.
pub(crate) fn take(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let (from, to) = (readable(from)?, readable(to)?);
    if !is_empty(&to)? || fgetxattr(&to, TAKEN, &mut [0_u8; 0]).is_ok() {
        return Ok(());
    }
    let stat = fstat(&from)?;
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    let mut names = Vec::with_capacity(MAX_XATTR);
    unless_unsupported(flistxattr(&from, spare_capacity(&mut names)))?;
    let mut value = Vec::with_capacity(MAX_XATTR);
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty() && !name.starts_with(OWN)) {
        value.clear();
        fgetxattr(&from, name, spare_capacity(&mut value))?;
        unless_unsupported(fsetxattr(&to, name, &value, XattrFlags::empty()))?;
    }
    unless_unsupported(fsetxattr(&to, TAKEN, b"", XattrFlags::empty()))?;
    fchmod(&to, Mode::from_raw_mode(stat.st_mode))?;
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    futimens(&to, &Timestamps { last_access: time, last_modification: time })
}

fn readable(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn is_empty(directory: impl AsFd) -> Result<bool> {
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A file system without a kind of xattr has none of it to give, and cannot be given any: overlayfs goes on as well.
fn unless_unsupported<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(Errno::OPNOTSUPP) => Ok(T::default()),
        result => result,
    }
}
