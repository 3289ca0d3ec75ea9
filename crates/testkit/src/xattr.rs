//! Extended attributes of files on the disk, links not followed.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr};
use rustix::io::{Errno, Result};

/// Linux's limit of an attribute's value and of the list of names.
const LIMIT: usize = 65536;

/// All names with their values.
pub(crate) fn read_all(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; LIMIT];
    let length = match llistxattr(path, &mut names[..]) {
        // What a squashfs without any says.
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| Ok((name.to_vec(), read(path, name)?.ok_or(Errno::NODATA)?))).collect()
}

/// The value of one, if it is there.
pub(crate) fn read(path: &Path, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; LIMIT];
    match lgetxattr(path, name, &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Sets one.
pub(crate) fn set(path: &Path, name: &[u8], value: &[u8]) -> Result<()> {
    lsetxattr(path, name, value, XattrFlags::empty())
}

/// Removes one.
pub(crate) fn remove(path: &Path, name: &[u8]) -> Result<()> {
    lremovexattr(path, name)
}

/// Whether it is overlayfs's own.
pub(crate) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}
