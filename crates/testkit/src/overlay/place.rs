//! Resolves names inside a directory with the kernel, so that no name leads out of it.

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

/// A directory that is used as `/`.
pub(super) struct Root {
    fd: OwnedFd,
}

/// An open directory. Names in it are accessed without resolving its path again.
pub(super) struct Parent {
    fd: OwnedFd,
}

impl Parent {
    /// Returns a path of `name` in this directory, valid while `self` exists.
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

    /// Opens the directory at this path. If `links` is true, symlinks are followed as if this were `/`; if not, they
    /// are an error.
    pub(super) fn directory(&self, path: &[u8], links: bool) -> std::result::Result<Parent, Errno> {
        let resolve = if links { ResolveFlags::IN_ROOT } else { ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS };
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                // Returned if a file was renamed or mounted anywhere while the kernel resolved a `..`.
                Err(Errno::AGAIN) => {}
                opened => return opened.map(|fd| Parent { fd }),
            }
        }
    }

    /// Resolves the links in a path. Returns the path relative to the root and without links, and whether there were
    /// any; `None` if the path leads nowhere.
    ///
    /// A missing component, or one that is not a directory, is taken as a directory that may be created later.
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

    /// Opens the directory at this path. Missing directories are created, even as targets of dangling links.
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

/// Returns the components of a path. `..` is kept.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// Returns the parent's path and the last component of a name; `None` for the root.
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
