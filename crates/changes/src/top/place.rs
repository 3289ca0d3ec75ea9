//! Resolving destinations in an image, with the entries that are being added to it.

use std::collections::HashMap;

use bstr::BStr;
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};
use vmroot_model::PathWalk;

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
        // A directory is the length of its path.
        let mut walk = PathWalk::new(0, path);
        while let Some(step) = walk.next() {
            here.truncate(*step.directory);
            let next = join(&here, step.name);
            match self.kind_at(&next) {
                EntryKind::Link(target) if follow_last || !step.is_last_name() => {
                    walk.follow(target).map_err(|error| error.to_string())?;
                }
                EntryKind::Other if !step.is_last_name() => {
                    return Err(format!("{:?} is not a directory", absolute(&next)));
                }
                _ => {
                    here = next;
                    walk.enter(here.len());
                }
            }
        }
        here.truncate(*walk.current());
        Ok(here)
    }
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
