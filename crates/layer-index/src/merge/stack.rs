//! The sources of a merge, and resolving names and paths in them.

use std::cell::Cell;
use std::collections::HashMap;

use vmroot_model::PathWalk;

use super::source::Source;
use crate::format::{InodeRecord, mode};
use crate::inode::InodeKind;
use crate::open::{Index, InodeId};
use crate::{Error, Result};

/// The largest total size in bytes of the symbolic link targets that all hard links of a merge lead through.
/// `builder::walk` has the same limit for the paths of a layer.
const MAX_FOLLOWED: u64 = 1 << 28;

/// An inode of one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SourceInode {
    pub(super) source: u32,
    pub(super) inode: u32,
}

/// The inode that a name has in the merged directory.
pub(super) enum MergedEntry {
    /// A directory with the attributes of this source directory.
    ///
    /// This is the highest source directory that has an entry of its own and is not only implied by paths. It may lie
    /// below the directories that contribute entries, since an opaque marker does not change attributes.
    Directory(SourceInode),
    /// An inode of another kind. Never a link to a path.
    NonDirectory(SourceInode),
}

/// The indexes to merge, lowest first.
pub(super) struct Stack<'a> {
    pub(super) sources: Vec<Source<'a>>,
    /// The target of each link to a path.
    links: HashMap<SourceInode, SourceInode>,
    /// The total size in bytes of the targets of the symbolic links followed so far.
    followed: Cell<u64>,
}

impl<'a> Stack<'a> {
    /// Creates a stack of indexes, lowest first, and resolves the targets of all links.
    ///
    /// Links are resolved from the bottom up, since the targets of a source lie in the sources below it. A link without
    /// a target is an error even if a higher source hides it, as it would be if layers were merged one by one.
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
            let part = SourceInode { source, inode };
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

    pub(super) fn record(&self, part: SourceInode) -> &'a InodeRecord {
        self.sources[part.source as usize].record(part.inode)
    }

    /// Merges the root directories of the sources below `end`.
    ///
    /// Adds the directories that contribute entries to `parts`, and returns the one with the attributes, or `None` if
    /// `end` is 0.
    pub(super) fn merge_roots(&self, end: u32, parts: &mut Vec<SourceInode>) -> Option<SourceInode> {
        self.merge_directories((0..end).rev().map(|source| SourceInode { source, inode: InodeId::ROOT.0 }), parts)
    }

    /// Merges the dirents (source, number) that sources have for one name, highest first.
    ///
    /// Returns `None` if the name is hidden. For a directory, adds the source directories that contribute entries to
    /// `parts`, highest first.
    pub(super) fn merge_dirents(
        &self,
        dirents: impl IntoIterator<Item = (u32, u32)>,
        parts: &mut Vec<SourceInode>,
    ) -> Option<MergedEntry> {
        let target = |(source, dirent): (u32, u32)| {
            let (inode, kind) = self.sources[source as usize].target(dirent)?;
            Some((SourceInode { source, inode }, kind))
        };
        let mut dirents = dirents.into_iter();
        // Passive directories have no effect unless a directory below them exists that is not passive.
        let mut passive = Vec::new();
        loop {
            match target(dirents.next()?)? {
                (part, InodeKind::Directory) if self.sources[part.source as usize].is_passive(part.inode) => {
                    passive.push(part);
                }
                (first, InodeKind::Directory) => {
                    // A whiteout hides the sources below it, and so does any inode that is not a directory.
                    let directory = |dirent| target(dirent).filter(|(_, kind)| *kind == InodeKind::Directory);
                    let lower = dirents.map_while(directory).map(|(part, _)| part);
                    let all = passive.into_iter().chain(std::iter::once(first)).chain(lower);
                    return self.merge_directories(all, parts).map(MergedEntry::Directory);
                }
                (link, InodeKind::Link) => return Some(MergedEntry::NonDirectory(self.links[&link])),
                (other, _) => return Some(MergedEntry::NonDirectory(other)),
            }
        }
    }

    /// Merges source directories of one path, highest first.
    ///
    /// Adds the directories that contribute entries to `parts`, and returns the one with the attributes.
    fn merge_directories(
        &self,
        candidates: impl Iterator<Item = SourceInode>,
        parts: &mut Vec<SourceInode>,
    ) -> Option<SourceInode> {
        let mut attributes = None;
        let (mut hidden, mut named) = (false, false);
        for part in candidates {
            let source = &self.sources[part.source as usize];
            if !hidden {
                parts.push(part);
            }
            if !named {
                named = !source.is_implicit(part.inode);
                // If all directories are implied, the highest one counts, since it may have been created anew.
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

    fn lookup(&self, directory: &[SourceInode], name: &[u8], parts: &mut Vec<SourceInode>) -> Option<MergedEntry> {
        let child =
            |part: &SourceInode| Some((part.source, self.sources[part.source as usize].child(part.inode, name)?));
        self.merge_dirents(directory.iter().filter_map(child), parts)
    }

    /// Resolves a path in the merge of the sources below `end`, whose links are resolved.
    ///
    /// A symbolic link at the end is not followed. Returns `None` if the path does not exist or is a directory.
    fn find_below(&self, end: u32, path: &'a [u8]) -> Option<SourceInode> {
        let mut root = Vec::new();
        self.merge_roots(end, &mut root);
        let mut walk = PathWalk::new(root, path);
        while let Some(step) = walk.next() {
            let mut parts = Vec::new();
            let found = match self.lookup(step.directory, step.name, &mut parts)? {
                MergedEntry::Directory(_) => {
                    walk.enter(parts);
                    continue;
                }
                MergedEntry::NonDirectory(found) => found,
            };
            if step.is_last() {
                return Some(found);
            }
            let inode = self.sources[found.source as usize].inode(found.inode);
            if inode.kind() != InodeKind::Symlink {
                return None;
            }
            self.followed.set(self.followed.get() + inode.size());
            if self.followed.get() > MAX_FOLLOWED {
                return None;
            }
            walk.follow(inode.link_target()).ok()?;
        }
        None
    }
}
