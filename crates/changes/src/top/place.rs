//! Where in an image a path leads, with what is being added to it.

use std::collections::HashMap;

use bstr::BStr;
use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};

/// How many symbolic links a path may lead through, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// What is at a path, as far as it matters for what may be put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Directory,
    Link(Vec<u8>),
    Other,
}

/// A root, and what a layer in the making adds to it.
pub(super) struct Places<'a> {
    root: &'a ContainerFs,
    /// By path, without links on the way.
    added: HashMap<Vec<u8>, Found>,
}

/// What makes no sense, for the caller to say with what.
pub(super) type Reason = String;

impl<'a> Places<'a> {
    pub(super) fn new(root: &'a ContainerFs) -> Self {
        Self { root, added: HashMap::new() }
    }

    /// What is at a path that has no links on the way.
    pub(super) fn at(&self, path: &[u8]) -> Found {
        if path.is_empty() {
            return Found::Directory;
        }
        if let Some(found) = self.added.get(path) {
            return found.clone();
        }
        let mut names = path.split(|&byte| byte == b'/');
        let Ok(ino) = names.try_fold(InodeId::ROOT, |directory, name| self.root.lookup(directory, name)) else {
            return Found::Nothing;
        };
        match self.root.stat(ino).kind {
            InodeKind::Directory => Found::Directory,
            InodeKind::Symlink => Found::Link(self.root.readlink(ino).map(<[u8]>::to_vec).unwrap_or_default()),
            _ => Found::Other,
        }
    }

    /// Notes what was put at a path without links on the way; directories on the way are there as well now.
    pub(super) fn add(&mut self, path: &[u8], found: Found) {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for parent in slashes.map(|(at, _)| &path[..at]) {
            if self.at(parent) == Found::Nothing {
                self.added.insert(parent.to_vec(), Found::Directory);
            }
        }
        self.added.insert(path.to_vec(), found);
    }

    /// The path, without links, that a path leads to; a link at its end is followed if `follow_last` says so. Names
    /// that are missing are taken for directories to come. No path leads out of the image.
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
            match self.at(&next) {
                Found::Link(target) if follow_last || !ahead.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(format!("more than {MAX_LINKS} symbolic links on the way"));
                    }
                    if target.starts_with(b"/") {
                        here.clear();
                    }
                    ahead.extend(names(&target));
                }
                Found::Other if !ahead.is_empty() => return Err(format!("{:?} is no directory", absolute(&next))),
                _ => here = next,
            }
        }
        Ok(here)
    }
}

/// The names of a path, the first one last.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}

/// A path one name longer.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.is_empty() || name.is_empty() { b"" } else { b"/" };
    [directory, slash, name].concat()
}

/// A path of the image, for messages.
pub(super) fn absolute(path: &[u8]) -> impl std::fmt::Debug {
    let path = [b"/", path].concat();
    BStr::new(&path).to_owned()
}
