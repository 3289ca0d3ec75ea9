//! Extended attributes of files on disk. Symlinks are not followed.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr};
use rustix::io::{Errno, Result};

/// Linux's limit for an attribute's value and for the list of names, in bytes.
const LIMIT: usize = 65536;

/// Returns all names and values.
pub(crate) fn read_all(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; LIMIT];
    let length = match llistxattr(path, &mut names[..]) {
        // The error of a squashfs without any xattrs.
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| Ok((name.to_vec(), read(path, name)?.ok_or(Errno::NODATA)?))).collect()
}

/// Returns the value of an attribute, if it exists.
pub(crate) fn read(path: &Path, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0; LIMIT];
    match lgetxattr(path, name, &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Sets an attribute.
pub(crate) fn set(path: &Path, name: &[u8], value: &[u8]) -> Result<()> {
    lsetxattr(path, name, value, XattrFlags::empty())
}

/// Removes an attribute.
pub(crate) fn remove(path: &Path, name: &[u8]) -> Result<()> {
    lremovexattr(path, name)
}

/// Returns whether the attribute is one of overlayfs itself.
pub(crate) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}
