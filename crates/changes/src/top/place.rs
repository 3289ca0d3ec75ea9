//! Resolving destinations in an image, with the entries that are being added to it.

use std::collections::HashMap;

use bstr::BStr;
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};

/// The most symbolic links that are followed in a path, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// The kind of entry at a path, as far as additions depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryKind {
    Missing,
    Directory,
    Link(Vec<u8>),
    Other,
}

/// A root with the entries that a new layer adds to it.
pub(super) struct PendingRoot<'a> {
    root: &'a ContainerFs,
    /// The added entries by path. No path leads through a link.
    added: HashMap<Vec<u8>, EntryKind>,
}

/// The reason why a destination is invalid. The caller adds the path.
pub(super) type Reason = String;

impl<'a> PendingRoot<'a> {
    pub(super) fn new(root: &'a ContainerFs) -> Self {
        Self { root, added: HashMap::new() }
    }

    /// Returns the entry at a path that does not lead through links.
    pub(super) fn kind_at(&self, path: &[u8]) -> EntryKind {
        if path.is_empty() {
            return EntryKind::Directory;
        }
        if let Some(kind) = self.added.get(path) {
            return kind.clone();
        }
        let mut names = path.split(|&byte| byte == b'/');
        let Ok(ino) = names.try_fold(InodeId::ROOT, |directory, name| self.root.lookup(directory, name)) else {
            return EntryKind::Missing;
        };
        match self.root.stat(ino).kind {
            InodeKind::Directory => EntryKind::Directory,
            InodeKind::Symlink => EntryKind::Link(self.root.readlink(ino).map(<[u8]>::to_vec).unwrap_or_default()),
            _ => EntryKind::Other,
        }
    }

    /// Records an entry that was added at a path without links. Missing parent directories are recorded as well.
    pub(super) fn add(&mut self, path: &[u8], kind: EntryKind) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for parent in slashes.map(|(at, _)| &path[..at]) {
            if self.kind_at(parent) == EntryKind::Missing {
                self.added.insert(parent.to_vec(), EntryKind::Directory);
            }
        }
        self.added.insert(path.to_vec(), kind);
    }

    /// Resolves the links in a path. A link at the end is followed if `follow_last` is true. Missing names are treated
    /// as directories that will be created. The result never leads out of the image.
    pub(super) fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>, Reason> {
        let mut here: Vec<u8> = Vec::new();
        let mut ahead = names(path);
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                here.truncate(here.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
                continue;
            }
            let next = join(&here, &name);
            match self.kind_at(&next) {
                EntryKind::Link(target) if follow_last || !ahead.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(format!("more than {MAX_LINKS} symbolic links on the way"));
                    }
                    if target.starts_with(b"/") {
                        here.clear();
                    }
                    ahead.extend(names(&target));
                }
                EntryKind::Other if !ahead.is_empty() => {
                    return Err(format!("{:?} is not a directory", absolute(&next)));
                }
                _ => here = next,
            }
        }
        Ok(here)
    }
}

/// Returns the names of a path in reverse order.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}

/// Appends a name to a path.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.is_empty() || name.is_empty() { b"" } else { b"/" };
    [directory, slash, name].concat()
}

/// Returns a path of the image for messages.
pub(super) fn absolute(path: &[u8]) -> impl std::fmt::Debug {
    let path = [b"/", path].concat();
    BStr::new(&path).to_owned()
}
