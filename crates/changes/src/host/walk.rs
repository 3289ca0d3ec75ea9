//! Every path below a directory of this machine.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use vmroot_container_fs::InodeKind;
use vmroot_export::Attributes;
use vmroot_output::beneath::{DIRECTORY, open_below};

use super::attributes::{Place, attributes, xattrs};
use crate::{Error, Result};

/// Directories that are open at once at most.
const OPEN: usize = 16;
/// A file, and not through a link; a named pipe that has taken its place must not make us wait.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A walk over a directory, or over a single file: the start first, directories before what they hold, siblings in byte
/// order.
pub struct HostWalk {
    start: PathBuf,
    /// The start, before it was given.
    first: Option<Start>,
    /// The directories from the start to where the walk is.
    open: Vec<Directory>,
    /// The path of the last of them, from the start on.
    path: Vec<u8>,
}

enum Start {
    Directory(OwnedFd),
    Named(OwnedFd, Vec<u8>),
}

struct Directory {
    /// In the directory that it lies in; empty for the start.
    name: Vec<u8>,
    /// Closed while the walk is far below; the start always stays open.
    fd: Option<OwnedFd>,
    /// Names that are to come, the next one last.
    names: Vec<Vec<u8>>,
    /// The length of its own path.
    length: usize,
}

/// One path of a walk.
pub struct HostEntry {
    /// From the start on, names with slashes between them; empty for the start itself.
    pub path: Vec<u8>,
    /// Where it is on this machine, for messages.
    pub place: PathBuf,
    /// Kind, mode, owner, time and device.
    pub attributes: Attributes,
    /// Those that are the file's own, sorted by name: `user.*`, `trusted.*`, `security.*` and access control lists, but
    /// no labels and signatures of this machine's security modules.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a regular file: itself, and its length in bytes.
    pub file: Option<(File, u64)>,
    /// Of a symbolic link; empty for others.
    pub target: Vec<u8>,
    /// What identifies an inode that has other names as well, here or elsewhere: device and number.
    pub shared: Option<(u64, u64)>,
}

impl HostEntry {
    /// The last name; empty for the start.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

impl HostWalk {
    /// Begins at `path`, which may be anything; a symbolic link is the start itself, unless a slash follows.
    ///
    /// # Errors
    /// [`Error::Io`] when there is nothing there.
    pub fn new(path: &Path) -> Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        let name = path.file_name().filter(|_| !bytes.ends_with(b"/") && !bytes.ends_with(b"/."));
        let Some(name) = name else { return Self::of_directory(path) };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = directory.map_err(Error::io("open", parent))?;
        let first = Start::Named(directory, name.as_bytes().to_vec());
        Ok(Self { start: path.to_owned(), first: Some(first), open: Vec::new(), path: Vec::new() })
    }

    /// Begins at the directory at `path`, which may be a symbolic link to one.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no directory there, or it may not be read.
    pub fn of_directory(path: &Path) -> Result<Self> {
        let fd = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let first = Start::Directory(fd.map_err(Error::io("open", path))?);
        Ok(Self { start: path.to_owned(), first: Some(first), open: Vec::new(), path: Vec::new() })
    }

    /// Leaves out what the directory that was given last holds.
    pub fn leave(&mut self) {
        self.open.pop();
    }

    fn step(&mut self) -> Result<Option<HostEntry>> {
        match self.first.take() {
            Some(Start::Directory(fd)) => return self.enter(Vec::new(), fd).map(Some),
            Some(Start::Named(directory, name)) => return self.look_at(directory.as_fd(), name).map(Some),
            None => {}
        }
        while let Some(directory) = self.open.last_mut() {
            self.path.truncate(directory.length);
            let Some(name) = directory.names.pop() else {
                self.open.pop();
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            let here = self.open.len() - 1;
            let fd = self.take_descriptor(here)?;
            let entry = self.look_at(fd.as_fd(), name);
            self.open[here].fd = Some(fd);
            return entry.map(Some);
        }
        Ok(None)
    }

    fn place(&self) -> PathBuf {
        if self.path.is_empty() { self.start.clone() } else { self.start.join(OsStr::from_bytes(&self.path)) }
    }

    fn failed<E: Into<std::io::Error>>(&self, action: &'static str) -> impl FnOnce(E) -> Error {
        Error::io(action, self.place())
    }

    /// The entry at `self.path`, which is `name` in a directory.
    fn look_at(&mut self, directory: BorrowedFd<'_>, name: Vec<u8>) -> Result<HostEntry> {
        let stat = statat(directory, &name[..], AtFlags::SYMLINK_NOFOLLOW).map_err(self.failed("look at"))?;
        match attributes(&stat).kind {
            InodeKind::Directory => {
                let fd = openat(directory, &name[..], DIRECTORY, Mode::empty()).map_err(self.failed("open"))?;
                self.enter(name, fd)
            }
            InodeKind::Regular => self.file(openat(directory, &name[..], FILE, Mode::empty())),
            kind => {
                let target = match kind {
                    InodeKind::Symlink => readlinkat(directory, &name[..], Vec::new()).map(CString::into_bytes),
                    _ => Ok(Vec::new()),
                };
                let target = target.map_err(self.failed("read the link"))?;
                let entry = self.entry(&stat, Place::Named(directory, &name))?;
                Ok(HostEntry { target, ..entry })
            }
        }
    }

    fn file(&self, opened: rustix::io::Result<OwnedFd>) -> Result<HostEntry> {
        let file = File::from(opened.map_err(self.failed("open"))?);
        let stat = fstat(&file).map_err(self.failed("look at"))?;
        if attributes(&stat).kind != InodeKind::Regular {
            return Err(self.failed("read")(Errno::STALE));
        }
        let entry = self.entry(&stat, Place::Open(file.as_fd()))?;
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        Ok(HostEntry { file: Some((file, length)), ..entry })
    }

    fn entry(&self, stat: &Stat, place: Place<'_>) -> Result<HostEntry> {
        let attributes = attributes(stat);
        let is_shared = attributes.kind != InodeKind::Directory && stat.st_nlink > 1;
        Ok(HostEntry {
            path: self.path.clone(),
            place: self.place(),
            attributes,
            xattrs: xattrs(place).map_err(self.failed("read the xattrs of"))?,
            file: None,
            target: Vec::new(),
            shared: is_shared.then_some((stat.st_dev, stat.st_ino)),
        })
    }

    /// Goes into the directory at `self.path`.
    fn enter(&mut self, name: Vec<u8>, fd: OwnedFd) -> Result<HostEntry> {
        let stat = fstat(&fd).map_err(self.failed("look at"))?;
        let entry = self.entry(&stat, Place::Open(fd.as_fd()))?;
        let mut names = names(&fd).map_err(self.failed("list"))?;
        names.sort_by(|one, other| other.cmp(one));
        self.open.push(Directory { name, fd: Some(fd), names, length: self.path.len() });
        if let Some(far) = self.open.len().checked_sub(OPEN + 1).filter(|far| *far > 0) {
            self.open[far].fd = None;
        }
        Ok(entry)
    }

    /// The descriptor of the last directory, opened again if it was closed.
    fn take_descriptor(&mut self, last: usize) -> Result<OwnedFd> {
        if let Some(fd) = self.open[last].fd.take() {
            return Ok(fd);
        }
        let nearest = self.open.iter().rposition(|directory| directory.fd.is_some()).expect("the start stays open");
        let from = self.open[nearest].fd.as_ref().expect("it was found open");
        let names: Vec<&[u8]> = self.open[nearest + 1..].iter().map(|directory| &directory.name[..]).collect();
        open_below(from.as_fd(), &names).map_err(self.failed("open the directory of"))
    }
}

/// An error ends the walk only where the caller lets it: what cannot be read is passed over by going on.
impl Iterator for HostWalk {
    type Item = Result<HostEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

fn names(fd: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}
