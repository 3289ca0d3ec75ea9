//! Walking over all paths of a root.

use std::collections::HashMap;
use std::fmt;

use vmroot_layer_index::{InodeId, InodeKind};

use crate::ContainerFs;

/// One path of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkEntry {
    /// The path without a leading slash; empty for the root directory.
    pub path: Vec<u8>,
    /// The inode at the path.
    pub ino: InodeId,
    /// The type of the inode.
    pub kind: InodeKind,
    /// The first path of the same inode in this walk, if this path is a hard link to it.
    pub link_to: Option<Vec<u8>>,
}

impl WalkEntry {
    /// Returns the last name of the path; empty for the root directory.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// Returns the depth below the root directory, which has depth 0.
    pub fn depth(&self) -> usize {
        if self.path.is_empty() { 0 } else { 1 + self.path.iter().filter(|&&byte| byte == b'/').count() }
    }
}

/// An iterator over all paths of a root: the root first, directories before their entries, siblings in byte order.
pub struct Walk<'a> {
    root: &'a ContainerFs,
    start: InodeId,
    /// The directories with remaining entries: inode, cookie, and length of the path.
    open: Vec<(InodeId, u64, usize)>,
    path: Vec<u8>,
    /// The first path of each inode with several names.
    first: HashMap<InodeId, Vec<u8>>,
    started: bool,
}

impl fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk").field("path", &String::from_utf8_lossy(&self.path)).finish_non_exhaustive()
    }
}

impl ContainerFs {
    /// Returns an iterator over all paths.
    pub fn walk(&self) -> Walk<'_> {
        self.walk_below(InodeId::ROOT)
    }

    /// Returns an iterator over an inode and, if it is a directory, all paths in it. Paths are relative to the inode,
    /// whose own path is empty.
    pub fn walk_below(&self, start: InodeId) -> Walk<'_> {
        Walk { root: self, start, open: Vec::new(), path: Vec::new(), first: HashMap::new(), started: false }
    }
}

impl Iterator for Walk<'_> {
    type Item = WalkEntry;

    fn next(&mut self) -> Option<WalkEntry> {
        if !self.started {
            self.started = true;
            let (ino, kind) = (self.start, self.root.inode(self.start).kind());
            if kind == InodeKind::Directory {
                self.open.push((ino, 0, 0));
            }
            return Some(WalkEntry { path: Vec::new(), ino, kind, link_to: None });
        }
        loop {
            let (directory, cookie, length) = self.open.last_mut()?;
            let entry = self.root.readdir(*directory, *cookie).ok().and_then(|mut entries| entries.next());
            let Some(entry) = entry else {
                self.open.pop();
                continue;
            };
            *cookie = entry.next;
            self.path.truncate(*length);
            if *length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(entry.name);
            let (ino, kind) = (entry.ino, entry.kind);
            let mut link_to = None;
            if kind == InodeKind::Directory {
                self.open.push((ino, 0, self.path.len()));
            } else if self.root.inode(ino).nlink() > 1 {
                link_to = self.first.get(&ino).cloned();
                if link_to.is_none() {
                    self.first.insert(ino, self.path.clone());
                }
            }
            return Some(WalkEntry { path: self.path.clone(), ino, kind, link_to });
        }
    }
}
