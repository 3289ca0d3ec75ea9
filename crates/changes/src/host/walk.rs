//! A walk over the tree below a directory of this machine.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use vmroot_container_fs::InodeKind;
use vmroot_output::beneath::{DIRECTORY, open_below};
use vmroot_output::{Holes, SparseRead};

use super::attributes::{EntryHandle, attributes, xattrs};
use crate::Result;
use crate::tree::{SharedInode, Tree, TreeEntry, TreeFile};

/// The most directories that are open at once.
const MAX_OPEN: usize = 16;
/// The flags for opening a file: symbolic links are not followed, and a named pipe that has replaced the file does not
/// block.
const FILE_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// An iterator over a directory tree, or over a single file. The start comes first, directories come before their
/// entries, and siblings are in byte order.
#[derive(Debug)]
pub struct HostWalk {
    start: PathBuf,
    /// The start, until it was returned.
    first: Option<Start>,
    /// The directories from the start to the current one.
    open: Vec<Directory>,
    /// The path of the last of them, relative to the start.
    path: Vec<u8>,
}

#[derive(Debug)]
enum Start {
    Directory(OwnedFd),
    Named(OwnedFd, Vec<u8>),
}

#[derive(Debug)]
struct Directory {
    /// The name in its parent directory. Empty for the start.
    name: Vec<u8>,
    /// Closed while the walk is far below. The start is never closed.
    fd: Option<OwnedFd>,
    /// The names still to visit, in reverse order.
    names: Vec<Vec<u8>>,
    /// The length of its path in bytes.
    length: usize,
}

/// An entry of a [`HostWalk`].
pub type HostEntry = TreeEntry<HostFile>;

/// A regular file of a [`HostWalk`].
#[derive(Debug)]
pub struct HostFile {
    /// The open file.
    pub file: File,
    /// Its length in bytes.
    pub length: u64,
}

impl TreeFile for HostFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn open(&self) -> io::Result<Box<dyn SparseRead + '_>> {
        Ok(Box::new(Holes::new(&self.file)))
    }
}

impl Tree for HostWalk {
    type File = HostFile;

    fn skip_directory(&mut self) {
        self.open.pop();
    }
}

impl HostWalk {
    /// Starts at `path`, which may be of any kind. A symbolic link is not followed, unless a slash comes after it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): `path` does not exist or cannot be opened.
    pub fn new(path: &Path) -> Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        let name = path.file_name().filter(|_| !bytes.ends_with(b"/") && !bytes.ends_with(b"/."));
        let Some(name) = name else { return Self::of_directory(path) };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let directory = directory.map_err(vmroot_output::Error::on("open", parent))?;
        let first = Start::Named(directory, name.as_bytes().to_vec());
        Ok(Self { start: path.to_owned(), first: Some(first), open: Vec::new(), path: Vec::new() })
    }

    /// Starts at the directory at `path`, which may be a symbolic link to a directory.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io): `path` is not a directory or cannot be read.
    pub fn of_directory(path: &Path) -> Result<Self> {
        let fd = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let first = Start::Directory(fd.map_err(vmroot_output::Error::on("open", path))?);
        Ok(Self { start: path.to_owned(), first: Some(first), open: Vec::new(), path: Vec::new() })
    }

    fn next_entry(&mut self) -> Result<Option<HostEntry>> {
        match self.first.take() {
            Some(Start::Directory(fd)) => return self.enter_directory(Vec::new(), fd).map(Some),
            Some(Start::Named(directory, name)) => return self.read_entry(directory.as_fd(), name).map(Some),
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
            let entry = self.read_entry(fd.as_fd(), name);
            self.open[here].fd = Some(fd);
            return entry.map(Some);
        }
        Ok(None)
    }

    fn host_path(&self) -> PathBuf {
        if self.path.is_empty() { self.start.clone() } else { self.start.join(OsStr::from_bytes(&self.path)) }
    }

    fn failed<E: Into<std::io::Error>>(&self, action: &'static str) -> impl FnOnce(E) -> vmroot_output::Error {
        vmroot_output::Error::on(action, self.host_path())
    }

    /// Reads the entry `name` of `directory`. Its path is `self.path`.
    fn read_entry(&mut self, directory: BorrowedFd<'_>, name: Vec<u8>) -> Result<HostEntry> {
        let stat = statat(directory, &name[..], AtFlags::SYMLINK_NOFOLLOW).map_err(self.failed("look at"))?;
        match attributes(&stat).kind {
            InodeKind::Directory => {
                let fd = openat(directory, &name[..], DIRECTORY, Mode::empty()).map_err(self.failed("open"))?;
                self.enter_directory(name, fd)
            }
            InodeKind::Regular => self.open_file(openat(directory, &name[..], FILE_FLAGS, Mode::empty())),
            kind => {
                let target = match kind {
                    InodeKind::Symlink => readlinkat(directory, &name[..], Vec::new()).map(CString::into_bytes),
                    _ => Ok(Vec::new()),
                };
                let target = target.map_err(self.failed("read the link"))?;
                let entry = self.new_entry(&stat, EntryHandle::InDirectory(directory, &name))?;
                Ok(HostEntry { target, ..entry })
            }
        }
    }

    fn open_file(&self, opened: rustix::io::Result<OwnedFd>) -> Result<HostEntry> {
        let file = File::from(opened.map_err(self.failed("open"))?);
        let stat = fstat(&file).map_err(self.failed("look at"))?;
        if attributes(&stat).kind != InodeKind::Regular {
            return Err(self.failed("read")(Errno::STALE).into());
        }
        let entry = self.new_entry(&stat, EntryHandle::Open(file.as_fd()))?;
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        Ok(HostEntry { file: Some(HostFile { file, length }), ..entry })
    }

    fn new_entry(&self, stat: &Stat, handle: EntryHandle<'_>) -> Result<HostEntry> {
        let attributes = attributes(stat);
        let has_other_names = attributes.kind != InodeKind::Directory && stat.st_nlink > 1;
        Ok(HostEntry {
            path: self.path.clone(),
            shown_path: self.host_path(),
            attributes,
            xattrs: xattrs(handle).map_err(self.failed("read the xattrs of"))?,
            file: None,
            target: Vec::new(),
            shared: has_other_names.then_some(SharedInode { device: stat.st_dev, inode: stat.st_ino }),
        })
    }

    /// Enters the directory at `self.path`.
    fn enter_directory(&mut self, name: Vec<u8>, fd: OwnedFd) -> Result<HostEntry> {
        let stat = fstat(&fd).map_err(self.failed("look at"))?;
        let entry = self.new_entry(&stat, EntryHandle::Open(fd.as_fd()))?;
        let mut names = list_names(&fd).map_err(self.failed("list"))?;
        names.sort_by(|one, other| other.cmp(one));
        self.open.push(Directory { name, fd: Some(fd), names, length: self.path.len() });
        if let Some(far) = self.open.len().checked_sub(MAX_OPEN + 1).filter(|far| *far > 0) {
            self.open[far].fd = None;
        }
        Ok(entry)
    }

    /// Takes the descriptor of the directory with this index, which is opened again if it was closed.
    fn take_descriptor(&mut self, last: usize) -> Result<OwnedFd> {
        if let Some(fd) = self.open[last].fd.take() {
            return Ok(fd);
        }
        let nearest =
            self.open.iter().rposition(|directory| directory.fd.is_some()).expect("the start is never closed");
        let from = self.open[nearest].fd.as_ref().expect("its descriptor is open");
        let names: Vec<&[u8]> = self.open[nearest + 1..].iter().map(|directory| &directory.name[..]).collect();
        Ok(open_below(from.as_fd(), &names).map_err(self.failed("open the directory of"))?)
    }
}

/// After an error, the walk continues with the next entry.
impl Iterator for HostWalk {
    type Item = Result<HostEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

fn list_names(fd: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
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
