//! Copies the attributes of the root directory to a new upper directory. An overlay shows the attributes of its upper
//! directory, and a layer made from the upper directory has them too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{
    Gid, Mode, OFlags, RawDir, Timespec, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fsetxattr,
    fstat, futimens, openat,
};
use rustix::io::{Errno, Result};

/// The xattrs of overlayfs itself. It hides them, and no layer contains them.
const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";
/// Marks an upper directory that has received the attributes. Its current attributes can be changes by a user.
const COPIED_MARK: &str = "trusted.overlay.vmroot.taken";
/// Bytes of the longest xattr list and of the longest value in Linux.
const MAX_XATTR_BYTES: usize = 64 << 10;

/// Copies owner, mode, xattrs and modification time from the directory `from` to `to`, if `to` is empty and was not an
/// upper directory before.
pub(crate) fn copy_once(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let (from, to) = (open_readable(from)?, open_readable(to)?);
    if !is_empty(&to)? || fgetxattr(&to, COPIED_MARK, &mut [0_u8; 0]).is_ok() {
        return Ok(());
    }
    let stat = fstat(&from)?;
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    let mut names = Vec::with_capacity(MAX_XATTR_BYTES);
    ignore_unsupported(flistxattr(&from, spare_capacity(&mut names)))?;
    let mut value = Vec::with_capacity(MAX_XATTR_BYTES);
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty() && !name.starts_with(OVERLAY_PREFIX)) {
        value.clear();
        fgetxattr(&from, name, spare_capacity(&mut value))?;
        ignore_unsupported(fsetxattr(&to, name, &value, XattrFlags::empty()))?;
    }
    ignore_unsupported(fsetxattr(&to, COPIED_MARK, b"", XattrFlags::empty()))?;
    fchmod(&to, Mode::from_raw_mode(stat.st_mode))?;
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    futimens(&to, &Timestamps { last_access: time, last_modification: time })
}

fn open_readable(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
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

/// Ignores `EOPNOTSUPP`. A file system without a kind of xattr cannot have or store any; overlayfs ignores this too.
fn ignore_unsupported<T: Default>(result: Result<T>) -> Result<T> {
    match result {
        Err(Errno::OPNOTSUPP) => Ok(T::default()),
        result => result,
    }
}
