//! A walk over a directory of a disk.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use vmroot_container_fs::InodeKind;
use vmroot_errors::Classified;
use vmroot_export::Attributes;
use vmroot_ext4::{DirectoryEntry, Ext4Reader, FileReader, Inode, ReadError, Replayed};
use vmroot_output::SparseRead;

use super::Disk;
use crate::tree::{SharedInode, Tree, TreeEntry, TreeFile, is_portable};
use crate::{Error, Result};

/// The most names that are still to visit, in all directories from the start to the current one, and the most
/// directories.
const DISK_NAMES_LIMIT: usize = 8_000_000;
/// The most nested directories.
const DISK_DEPTH_LIMIT: usize = 4096;
/// The most bytes of the paths of all entries. A deep directory makes long paths from short names.
const DISK_PATHS_LIMIT: u64 = 16 << 30;
/// The most bytes of all files, holes included, that are more than the size of the disk.
const DISK_FILES_LIMIT: u64 = 2 << 40;

/// An iterator over a directory of a [`Disk`]. The start comes first, directories come before their entries, and siblings
/// are in byte order.
#[derive(Debug)]
pub struct DiskWalk<'d> {
    disk: &'d Disk,
    /// The path of the start on the disk.
    start: Vec<u8>,
    /// The start, until it was returned.
    first: Option<Inode>,
    /// The directories from the start to the current one.
    open: Vec<Directory>,
    /// The path of the last of them, relative to the start.
    path: Vec<u8>,
    /// The inodes of all directories so far.
    entered: HashSet<u32>,
    /// Number of names in `open`.
    names: usize,
    /// Bytes of the paths so far.
    path_bytes: u64,
    /// Bytes of the files so far.
    file_bytes: u64,
}

#[derive(Debug)]
struct Directory {
    /// The entries still to visit, in reverse order.
    entries: Vec<DirectoryEntry>,
    /// The length of its path in bytes.
    length: usize,
}

/// A regular file of a [`DiskWalk`].
#[derive(Debug)]
pub struct DiskFile<'d> {
    reader: &'d Ext4Reader<Replayed<File>>,
    inode: Inode,
}

impl<'d> DiskWalk<'d> {
    pub(super) fn new(disk: &'d Disk, path: &[u8], start: Inode) -> Self {
        Self {
            disk,
            start: path.to_vec(),
            first: Some(start),
            open: Vec::new(),
            path: Vec::new(),
            entered: HashSet::new(),
            names: 0,
            path_bytes: 0,
            file_bytes: 0,
        }
    }

    /// Returns the entries of the directory that was returned last, without visiting them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let last = self.open.last().map_or(&[][..], |directory| &directory.entries);
        last.iter().rev().map(|entry| &entry.name[..])
    }

    fn next_entry(&mut self) -> Result<Option<TreeEntry<DiskFile<'d>>>> {
        if let Some(start) = self.first.take() {
            return self.enter(start).map(Some);
        }
        while let Some(directory) = self.open.last_mut() {
            self.path.truncate(directory.length);
            let Some(entry) = directory.entries.pop() else {
                self.open.pop();
                continue;
            };
            self.names -= 1;
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&entry.name);
            self.path_bytes += self.path.len() as u64;
            if self.path_bytes > DISK_PATHS_LIMIT {
                return Err(limit("all paths of the disk have too many bytes", "DISK_PATHS_LIMIT"));
            }
            let inode = self.disk.reader().inode(entry.inode).map_err(self.failed())?;
            return match inode.kind() {
                InodeKind::Directory => self.enter(inode),
                _ => self.entry(inode),
            }
            .map(Some);
        }
        Ok(None)
    }

    /// Enters the directory at `self.path`.
    fn enter(&mut self, directory: Inode) -> Result<TreeEntry<DiskFile<'d>>> {
        let mut entries = self.disk.reader().read_directory(&directory).map_err(self.failed())?;
        if !self.entered.insert(directory.number()) {
            let what = format!("the directory in inode {} has two names", directory.number());
            return Err(self.failed()(ReadError::Damaged(what)));
        }
        entries.reverse();
        self.names += entries.len();
        if self.names.max(self.entered.len()) > DISK_NAMES_LIMIT {
            return Err(limit("directories of the disk have too many entries", "DISK_NAMES_LIMIT"));
        }
        if self.open.len() > DISK_DEPTH_LIMIT {
            return Err(limit("directories of the disk are nested too deeply", "DISK_DEPTH_LIMIT"));
        }
        self.open.push(Directory { entries, length: self.path.len() });
        self.entry(directory)
    }

    /// Reads the entry at `self.path`.
    fn entry(&mut self, inode: Inode) -> Result<TreeEntry<DiskFile<'d>>> {
        let reader = self.disk.reader();
        let mut xattrs = reader.xattrs(&inode).map_err(self.failed())?;
        xattrs.retain(|(name, _)| is_portable(name));
        let kind = inode.kind();
        let target = match kind {
            InodeKind::Symlink => reader.link_target(&inode).map_err(self.failed())?,
            _ => Vec::new(),
        };
        if kind == InodeKind::Regular {
            self.file_bytes = self.file_bytes.saturating_add(inode.size());
            if self.file_bytes.saturating_sub(reader.size()) > DISK_FILES_LIMIT {
                return Err(limit("all files of the disk have too many bytes", "DISK_FILES_LIMIT"));
            }
        }
        let has_other_names = kind != InodeKind::Directory && inode.links() > 1;
        Ok(TreeEntry {
            path: self.path.clone(),
            shown_path: self.shown_path(),
            attributes: Attributes {
                kind,
                mode: inode.mode(),
                uid: inode.uid(),
                gid: inode.gid(),
                mtime: inode.mtime(),
                device: inode.device(),
            },
            xattrs,
            target,
            shared: has_other_names.then(|| SharedInode { device: 0, inode: inode.number().into() }),
            file: (kind == InodeKind::Regular).then_some(DiskFile { reader, inode }),
        })
    }

    fn shown_path(&self) -> PathBuf {
        let mut shown = OsString::from(self.disk.path());
        shown.push(":");
        for part in [&self.start, &self.path].into_iter().filter(|part| !part.is_empty()) {
            shown.push("/");
            shown.push(std::ffi::OsStr::from_bytes(part));
        }
        shown.into()
    }

    fn failed(&self) -> impl FnOnce(ReadError) -> Error {
        let path = self.shown_path();
        |source| Error::Disk { path, source }
    }
}

/// After an error, the walk continues with the next entry.
impl<'d> Iterator for DiskWalk<'d> {
    type Item = Result<TreeEntry<DiskFile<'d>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

impl<'d> Tree for DiskWalk<'d> {
    type File = DiskFile<'d>;

    fn skip_directory(&mut self) {
        if let Some(skipped) = self.open.pop() {
            self.names -= skipped.entries.len();
        }
    }
}

impl TreeFile for DiskFile<'_> {
    fn length(&self) -> u64 {
        self.inode.size()
    }

    fn open(&self) -> io::Result<Box<dyn SparseRead + '_>> {
        Ok(Box::new(Contents(self.reader.open_file(&self.inode).map_err(unreadable)?)))
    }
}

struct Contents<'d>(FileReader<'d, Replayed<File>>);

impl SparseRead for Contents<'_> {
    fn next_data(&mut self, range: Range<u64>) -> io::Result<Option<Range<u64>>> {
        self.0.next_data(range).map_err(unreadable)
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset).map_err(unreadable)
    }
}

fn unreadable(error: ReadError) -> io::Error {
    io::Error::other(Classified::new(error.kind(), error.limit(), error))
}

fn limit(what: &str, limit: &'static str) -> Error {
    Error::Limit { what: what.to_owned(), limit }
}
