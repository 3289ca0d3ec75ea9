//! The sources of a merge, and what a path means in the lower ones of them.

use std::cell::Cell;
use std::collections::HashMap;

use super::source::Source;
use crate::format::{InodeRecord, mode};
use crate::inode::InodeKind;
use crate::open::{Index, InodeId};
use crate::{Error, Result};

/// How many symbolic links the path of a hard link may lead through, as in Linux (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// How many bytes of link targets all hard links of a merge may lead through; see the same limit of a layer's paths.
const MAX_FOLLOWED: u64 = 1 << 28;

/// An inode of one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) source: u32,
    pub(super) inode: u32,
}

/// What a name means.
pub(super) enum Found {
    /// A directory, with the attributes of this one. Its parts went to the caller.
    ///
    /// Attributes are those of the highest that was named itself, not only in paths: it may lie below those whose
    /// entries count, since an opaque marker says nothing about attributes.
    Directory(Part),
    /// An inode of another kind, no link to a path.
    Other(Part),
}

/// The indexes to merge, lowest first.
pub(super) struct Stack<'a> {
    pub(super) sources: Vec<Source<'a>>,
    /// What each link to a path is.
    links: HashMap<Part, Part>,
    /// Bytes of targets of symbolic links that were followed to find those.
    followed: Cell<u64>,
}

impl<'a> Stack<'a> {
    /// Finds the targets of all links, from the bottom up: those of a source lie in sources below it, where links are
    /// resolved already. A link whose target is missing is an error even where a higher source hides it, as it would be
    /// if layers were merged one by one.
    pub(super) fn new(indexes: impl Iterator<Item = &'a Index>) -> Result<Self> {
        let mut stack =
            Self { sources: indexes.map(Source::new).collect(), links: HashMap::new(), followed: Cell::new(0) };
        for source in 0..stack.sources.len() as u32 {
            stack.resolve_links(source)?;
        }
        Ok(stack)
    }

    fn resolve_links(&mut self, source: u32) -> Result<()> {
        let index = self.sources[source as usize].index;
        for inode in (0..index.inode_count()).filter(|_| !index.is_root()) {
            let part = Part { source, inode };
            if self.record(part).mode.get() & mode::TYPE == mode::LINK {
                let target = index.inode(InodeId(inode)).link_target();
                let found = self.find_below(source, target).ok_or_else(|| Error::LinkTargetMissing {
                    entry: index.path_of(InodeId(inode)).into(),
                    target: target.into(),
                })?;
                self.links.insert(part, found);
            }
        }
        Ok(())
    }

    pub(super) fn record(&self, part: Part) -> &'a InodeRecord {
        self.sources[part.source as usize].record(part.inode)
    }

    /// The root directory of the sources below `end`: adds its parts, and gives the one with its attributes. Without
    /// sources there is none.
    pub(super) fn root(&self, end: u32, parts: &mut Vec<Part>) -> Option<Part> {
        self.directory((0..end).rev().map(|source| Part { source, inode: InodeId::ROOT.0 }), parts)
    }

    /// What a name means, given the dirents that sources have for it, highest first. Adds the parts of a directory: those
    /// whose entries it has, highest first.
    pub(super) fn decide(&self, dirents: impl IntoIterator<Item = (u32, u32)>, parts: &mut Vec<Part>) -> Option<Found> {
        let target = |(source, dirent): (u32, u32)| {
            let (inode, kind) = self.sources[source as usize].target(dirent)?;
            Some((Part { source, inode }, kind))
        };
        let mut dirents = dirents.into_iter();
        // Passive directories say nothing unless one below them is there on its own account.
        let mut passive = Vec::new();
        loop {
            match target(dirents.next()?)? {
                (part, InodeKind::Directory) if self.sources[part.source as usize].is_passive(part.inode) => {
                    passive.push(part);
                }
                (first, InodeKind::Directory) => {
                    // A whiteout hides what is below it, and whatever is no directory does as well.
                    let directory = |dirent| target(dirent).filter(|(_, kind)| *kind == InodeKind::Directory);
                    let lower = dirents.map_while(directory).map(|(part, _)| part);
                    let all = passive.into_iter().chain(std::iter::once(first)).chain(lower);
                    return self.directory(all, parts).map(Found::Directory);
                }
                (link, InodeKind::Link) => return Some(Found::Other(self.links[&link])),
                (other, _) => return Some(Found::Other(other)),
            }
        }
    }

    /// The directory that these make, highest first.
    fn directory(&self, candidates: impl Iterator<Item = Part>, parts: &mut Vec<Part>) -> Option<Part> {
        let mut attributes = None;
        let (mut hidden, mut named) = (false, false);
        for part in candidates {
            let source = &self.sources[part.source as usize];
            if !hidden {
                parts.push(part);
            }
            if !named {
                named = !source.is_implicit(part.inode);
                // Of directories that are all implied, the highest: one may have been made anew.
                if named || attributes.is_none() {
                    attributes = Some(part);
                }
            }
            hidden |= source.is_opaque(part.inode);
            if hidden && named {
                break;
            }
        }
        attributes
    }

    fn lookup(&self, directory: &[Part], name: &[u8], parts: &mut Vec<Part>) -> Option<Found> {
        let child = |part: &Part| Some((part.source, self.sources[part.source as usize].child(part.inode, name)?));
        self.decide(directory.iter().filter_map(child), parts)
    }

    /// Walks a path in the merge of the sources below `end`, whose links are resolved; the last name is not followed if
    /// it is a symbolic link, and must not be a directory.
    fn find_below(&self, end: u32, path: &'a [u8]) -> Option<Part> {
        let mut root = Vec::new();
        self.root(end, &mut root);
        let mut trail = vec![root];
        let mut ahead: Vec<&[u8]> = path.split(|&byte| byte == b'/').rev().collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match name {
                b"" | b"." => continue,
                b".." => {
                    trail.truncate((trail.len() - 1).max(1));
                    continue;
                }
                _ => {}
            }
            let mut parts = Vec::new();
            let found = match self.lookup(trail.last().expect("the root is never left"), name, &mut parts)? {
                Found::Directory(_) => {
                    trail.push(parts);
                    continue;
                }
                Found::Other(found) => found,
            };
            if ahead.is_empty() {
                return Some(found);
            }
            let inode = self.sources[found.source as usize].inode(found.inode);
            links += 1;
            self.followed.set(self.followed.get() + inode.size());
            if inode.kind() != InodeKind::Symlink || links > MAX_LINKS || self.followed.get() > MAX_FOLLOWED {
                return None;
            }
            if inode.link_target().starts_with(b"/") {
                trail.truncate(1);
            }
            ahead.extend(inode.link_target().split(|&byte| byte == b'/').rev());
        }
        None
    }
}
