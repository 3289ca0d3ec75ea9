//! Opening directories beneath another one, at any depth, and never outside it.
//!
//! Paths are resolved by openat2(2) relative to a descriptor, with `RESOLVE_BENEATH`, `RESOLVE_NO_SYMLINKS` and
//! `RESOLVE_NO_MAGICLINKS`. If a directory is replaced by a symbolic link meanwhile, the call fails and does not leave
//! the tree.

use std::borrow::Cow;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// The longest path in bytes that one system call accepts (`PATH_MAX` without its NUL).
const MAX_PATH: usize = 4095;

/// The flags for opening a directory: read-only, without following a symbolic link.
pub const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Returns a path through procfs to `name` in an open directory.
///
/// It is for system calls that accept only paths: before Linux 6.13 there are none for the xattrs of a descriptor and a
/// name.
pub fn path_by_descriptor(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", directory.as_raw_fd()).as_bytes(), name].concat()
}

/// Opens the directory at the path of `names`, relative to `from`. `names` must not be empty. A path longer than
/// `PATH_MAX` takes several calls.
///
/// # Errors
/// The error of openat2(2) or openat(2).
pub fn open_below(from: BorrowedFd<'_>, names: &[&[u8]]) -> rustix::io::Result<OwnedFd> {
    let mut fd: Option<OwnedFd> = None;
    let mut rest = names;
    loop {
        let (path, count) = longest_path(rest);
        let next = open_path(fd.as_ref().map_or(from, AsFd::as_fd), &path, &rest[..count])?;
        rest = &rest[count..];
        if rest.is_empty() {
            return Ok(next);
        }
        fd = Some(next);
    }
}

/// Joins as many names as fit in one path. At least one fits, because a name has at most 255 bytes.
fn longest_path<'n>(names: &[&'n [u8]]) -> (Cow<'n, [u8]>, usize) {
    let mut length = 0;
    let count = names.iter().take_while(|name| {
        length += name.len() + 1;
        length <= MAX_PATH + 1
    });
    match count.count() {
        1 => (Cow::Borrowed(names[0]), 1),
        count => (Cow::Owned(names[..count].join(&b'/')), count),
    }
}

fn open_path(from: BorrowedFd<'_>, path: &[u8], names: &[&[u8]]) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(from, path, DIRECTORY, Mode::empty(), resolve) {
            // A rename elsewhere raced with the call, so that the kernel cannot guarantee RESOLVE_BENEATH.
            Err(Errno::AGAIN) => {}
            // Linux before 5.6, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_one_by_one(from, names),
            result => return result,
        }
    }
}

/// Opens the directory with one openat(2) for each name. A single name that is not followed cannot lead elsewhere.
fn open_one_by_one(from: BorrowedFd<'_>, names: &[&[u8]]) -> rustix::io::Result<OwnedFd> {
    let (first, rest) = names.split_first().ok_or(Errno::NOENT)?;
    let mut fd = openat(from, *first, DIRECTORY, Mode::empty())?;
    for name in rest {
        fd = openat(&fd, *name, DIRECTORY, Mode::empty())?;
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, fstat};

    use super::*;

    /// Returns a directory that contains `real/deep`, and a symbolic link to `real`.
    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("real/deep")).unwrap();
        symlink("real", tree.path().join("link")).unwrap();
        let fd = openat(CWD, tree.path(), DIRECTORY, Mode::empty()).unwrap();
        (tree, fd)
    }

    fn both_methods(from: &OwnedFd, names: &[&[u8]]) -> [rustix::io::Result<u64>; 2] {
        let inode = |fd: rustix::io::Result<OwnedFd>| fd.and_then(|fd| Ok(fstat(&fd)?.st_ino));
        let path = names.join(&b'/');
        [inode(open_path(from.as_fd(), &path, names)), inode(open_one_by_one(from.as_fd(), names))]
    }

    #[test]
    fn both_methods_open_the_same_directory_and_follow_no_link() {
        let (_tree, fd) = tree();
        let [by_path, one_by_one] = both_methods(&fd, &[b"real", b"deep"]);
        assert_eq!(by_path.unwrap(), one_by_one.unwrap());
        for names in [&[&b"link"[..]][..], &[b"link", b"deep"]] {
            for result in both_methods(&fd, names) {
                assert!(matches!(result, Err(Errno::LOOP | Errno::NOTDIR)), "{result:?}");
            }
        }
    }

    #[test]
    fn path_cannot_leave_the_directory() {
        let (_tree, fd) = tree();
        let deep = open_below(fd.as_fd(), &[b"real", b"deep"]).unwrap();
        assert_eq!(open_path(deep.as_fd(), b"../..", &[]).unwrap_err(), Errno::XDEV);
        assert_eq!(open_path(deep.as_fd(), b"/", &[]).unwrap_err(), Errno::XDEV);
    }

    #[test]
    fn names_are_joined_up_to_path_max() {
        let name = [b'n'; 255];
        let names = vec![&name[..]; 40];
        let (path, count) = longest_path(&names);
        assert_eq!((path.len(), count), (16 * 256 - 1, 16));
        assert_eq!(longest_path(&names[..1]), (Cow::Borrowed(&name[..]), 1));
        assert_eq!(longest_path(&names[..3]).0.len(), 3 * 256 - 1);
    }
}
