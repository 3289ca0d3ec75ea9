//! The target directory of an export.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Dir, Mode, OFlags, fchmod, fremovexattr, mkdirat, openat};
use rustix::io::Errno;

use crate::{Error, Result};

/// Creates the target, or opens it if it is an empty directory. Makes it private until the export is done.
pub(super) fn open_empty(target: &Path) -> Result<OwnedFd> {
    match mkdirat(CWD, target, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(vmroot_output::Error::on("make the directory", target)(errno).into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd =
        openat(CWD, target, flags, Mode::empty()).map_err(vmroot_output::Error::on("open the directory", target))?;
    for entry in Dir::read_from(&fd).map_err(vmroot_output::Error::on("list", target))? {
        let entry = entry.map_err(vmroot_output::Error::on("list", target))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Err(Error::TargetNotEmpty(target.to_owned()));
        }
    }
    // Removes attributes that new entries would inherit: access control lists, and setgid. This fails if the directory
    // belongs to another user, and is ignored.
    for name in ["system.posix_acl_default", "system.posix_acl_access"] {
        let _ = fremovexattr(&fd, name);
    }
    match fchmod(&fd, Mode::RWXU) {
        Ok(()) | Err(Errno::PERM) => Ok(fd),
        Err(errno) => Err(vmroot_output::Error::on("change the mode of", target)(errno).into()),
    }
}

/// Removes an incomplete tree. A directory that existed before the export, and was empty, stays.
pub(super) fn remove(target: &Path, existed: bool) -> io::Result<()> {
    if !existed {
        return fs::remove_dir_all(target);
    }
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}
