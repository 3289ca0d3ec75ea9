//! Places inside a directory that nothing leads out of: the kernel resolves the names.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::extract::refuse;
use super::marker::is_marker;
use crate::error::{Error, Result};

/// A directory taken for `/`.
pub(super) struct Root {
    fd: OwnedFd,
}

/// An open directory; names in it are reached without going through its path again.
pub(super) struct Parent {
    fd: OwnedFd,
}

impl Parent {
    /// A path of `name` in this directory, valid while `self` lives.
    pub(super) fn join(&self, name: &[u8]) -> PathBuf {
        Path::new("/proc/self/fd").join(self.fd.as_raw_fd().to_string()).join(OsStr::from_bytes(name))
    }
}

impl Root {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, directory, flags, Mode::empty()).map_err(Error::io("open", directory))?;
        Ok(Self { fd })
    }

    /// The directory of this path; links are followed as if this were `/`, or refused.
    pub(super) fn directory(&self, path: &[u8], links: bool) -> std::result::Result<Parent, Errno> {
        let resolve = if links { ResolveFlags::IN_ROOT } else { ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS };
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                // Something was renamed or mounted anywhere while the kernel went through a `..`: it asks to try again.
                Err(Errno::AGAIN) => {}
                opened => return opened.map(|fd| Parent { fd }),
            }
        }
    }

    /// The path that this one means, relative to the root and without links, and whether it leads through any; none where
    /// they lead nowhere. What is missing, or no directory, is taken for the directory that may come there.
    pub(super) fn real_path(&self, path: &[u8]) -> Option<(PathBuf, bool)> {
        let mut real = PathBuf::new();
        let mut ahead: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(component) = ahead.pop() {
            if component == b".." {
                real.pop();
                continue;
            }
            if component.len() > 255 || is_marker(&component) {
                return None;
            }
            let parent = self.directory(real.as_os_str().as_bytes(), false);
            let target = parent.ok().and_then(|parent| fs::read_link(parent.join(&component)).ok());
            let Some(target) = target else {
                real.push(OsStr::from_bytes(&component));
                continue;
            };
            links += 1;
            if links > 40 {
                return None;
            }
            if target.is_absolute() {
                real.clear();
            }
            ahead.extend(components(target.as_os_str().as_bytes()).rev().map(<[u8]>::to_vec));
        }
        Some((real, links > 0))
    }

    /// The directory of this path, made where it is missing, at the ends of dangling links too.
    pub(super) fn make_directory(&self, path: &[u8], depth: usize) -> Result<Parent> {
        let mut done: Vec<u8> = Vec::new();
        for component in components(path) {
            let parent = self.directory(&done, true).map_err(Error::io("open", name_of(&done)))?;
            let before = done.clone();
            done.extend_from_slice(b"/");
            done.extend_from_slice(component);
            match self.directory(&done, true) {
                Ok(_) => continue,
                Err(Errno::NOENT) if depth < 40 => {}
                Err(errno) => return Err(Error::io("open", name_of(&done))(errno)),
            }
            let place = parent.join(component);
            match fs::read_link(&place) {
                Ok(target) if target.is_absolute() => {
                    drop(self.make_directory(target.as_os_str().as_bytes(), depth + 1)?)
                }
                Ok(target) => {
                    let target = [&before, &b"/"[..], target.as_os_str().as_bytes()].concat();
                    drop(self.make_directory(&target, depth + 1)?);
                }
                Err(_) => fs::create_dir(&place).map_err(Error::io("make", name_of(&done)))?,
            }
        }
        self.directory(&done, true).map_err(Error::io("open", name_of(&done)))
    }
}

/// The components of a path; `..` is kept.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The parent's path and the last component of a name, `None` for the root.
pub(super) fn parent_and_last(name: &[u8]) -> Result<Option<(Vec<u8>, &[u8])>> {
    let mut parts: Vec<&[u8]> = components(name).collect();
    if parts.contains(&&b".."[..]) {
        return Err(refuse(name, "has a .. component"));
    }
    Ok(parts.pop().map(|last| (parts.join(&b'/'), last)))
}

fn name_of(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}
