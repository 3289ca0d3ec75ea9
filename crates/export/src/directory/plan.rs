//! The entries to create, and their order.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};

use crate::Result;

/// The bytes of files at which a job is complete.
const JOB_BYTES: u64 = 4 << 20;
/// The most entries of a job.
const JOB_ENTRIES: usize = 64;

/// The index of the root directory in [`Plan::directories`].
pub(super) const ROOT: u32 = 0;

/// A directory. Its parent comes before it.
pub(super) struct Directory<'a> {
    pub(super) parent: u32,
    pub(super) name: &'a [u8],
    pub(super) ino: InodeId,
}

/// An entry that is not a directory.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    /// The index in [`Plan::directories`].
    pub(super) directory: u32,
    pub(super) name: &'a [u8],
    pub(super) ino: InodeId,
}

/// A further name of an inode.
pub(super) struct Link<'a> {
    pub(super) node: Node<'a>,
    /// The index of the first name in [`Plan::first_names`].
    pub(super) first: u32,
}

/// All entries of an export. Paths are not stored.
pub(super) struct Plan<'a> {
    /// Parents come before their children, and the directory of the export is first.
    pub(super) directories: Vec<Directory<'a>>,
    /// Files in the order of their contents, so that contents files are read sequentially. Then empty files, symbolic
    /// links and devices.
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) links: Vec<Link<'a>>,
    pub(super) first_names: Vec<Node<'a>>,
    /// Bytes of all files.
    pub(super) bytes: u64,
}

impl<'a> Plan<'a> {
    /// Lists the entries of a directory, which become those of the directory of the export.
    pub(super) fn of_entries(fs: &'a ContainerFs, directory: InodeId) -> Result<Self> {
        let mut plan = Self::empty(directory);
        plan.add_tree(fs, ROOT, directory)?;
        Ok(plan)
    }

    /// Lists an inode and the entries in it. The inode becomes an entry of the directory of the export.
    pub(super) fn of_inode(fs: &'a ContainerFs, ino: InodeId, name: &'a [u8]) -> Result<Self> {
        let mut plan = Self::empty(InodeId::ROOT);
        if fs.stat(ino).kind == InodeKind::Directory {
            plan.directories.push(Directory { parent: ROOT, name, ino });
            plan.add_tree(fs, ROOT + 1, ino)?;
        } else {
            plan.add(fs, Node { directory: ROOT, name, ino }, &mut HashMap::new());
        }
        Ok(plan)
    }

    fn empty(root: InodeId) -> Self {
        Self {
            directories: vec![Directory { parent: ROOT, name: b"", ino: root }],
            nodes: Vec::new(),
            links: Vec::new(),
            first_names: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds all entries of a directory, which has the number `top` in [`Self::directories`].
    fn add_tree(&mut self, fs: &'a ContainerFs, top: u32, ino: InodeId) -> Result<()> {
        let mut first = HashMap::new();
        let mut open = vec![(top, fs.readdir(ino, 0)?)];
        while let Some((directory, entries)) = open.last_mut() {
            let directory = *directory;
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            let node = Node { directory, name: entry.name, ino: entry.ino };
            if entry.kind == InodeKind::Directory {
                open.push((self.directories.len() as u32, fs.readdir(entry.ino, 0)?));
                self.directories.push(Directory { parent: directory, name: entry.name, ino: entry.ino });
            } else {
                self.add(fs, node, &mut first);
            }
        }
        self.nodes.sort_by_key(|node| fs.extent(node.ino).map_or((u32::MAX, 0), |extent| (extent.file, extent.offset)));
        Ok(())
    }

    fn add(&mut self, fs: &ContainerFs, node: Node<'a>, first: &mut HashMap<InodeId, u32>) {
        let stat = fs.stat(node.ino);
        if stat.nlink > 1 {
            if let Some(&first) = first.get(&node.ino) {
                self.links.push(Link { node, first });
                return;
            }
            first.insert(node.ino, self.first_names.len() as u32);
            self.first_names.push(node);
        }
        if stat.kind == InodeKind::Regular {
            self.bytes += stat.size;
        }
        self.nodes.push(node);
    }

    /// Splits [`Self::nodes`] into ranges, each with enough work for one thread.
    pub(super) fn jobs(&self, fs: &ContainerFs) -> Vec<Range<usize>> {
        let mut jobs = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (position, node) in self.nodes.iter().enumerate() {
            bytes += fs.extent(node.ino).map_or(0, |extent| extent.length);
            let end = position + 1;
            if bytes >= JOB_BYTES || end - start >= JOB_ENTRIES || end == self.nodes.len() {
                jobs.push(start..end);
                (start, bytes) = (end, 0);
            }
        }
        jobs
    }

    /// Returns the path of a directory relative to the root, for messages.
    pub(super) fn directory_path(&self, mut directory: u32) -> PathBuf {
        let mut names = Vec::new();
        while directory != ROOT {
            names.push(self.directories[directory as usize].name);
            directory = self.directories[directory as usize].parent;
        }
        names.reverse();
        PathBuf::from(OsStr::from_bytes(&names.join(&b'/')))
    }

    /// Returns the path of an entry relative to the root, for messages.
    pub(super) fn path(&self, node: Node<'_>) -> PathBuf {
        self.directory_path(node.directory).join(OsStr::from_bytes(node.name))
    }
}
