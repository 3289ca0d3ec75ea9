//! Whiteouts and opaque markers, kept until the layer is complete: their place in the tar says nothing.

use super::WHITEOUT;
use super::tree::{self, ROOT, Tree};
use super::walk::Walk;
use crate::error::Reason;
use crate::format::{IMPLICIT, NO_INODE, OPAQUE, PASSIVE, mode};
use crate::{Error, Result};

/// What the markers of a layer name.
#[derive(Default)]
pub(super) struct Markers {
    /// The paths of all markers, one behind the other, their names with slashes between them.
    paths: Vec<u8>,
    marks: Vec<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    /// Where its path ends.
    end: usize,
    /// Whether the path is that of a directory of which lower layers show nothing, and not of a name that they lose.
    opaque: bool,
    /// Whether links of the layer lead to it.
    linked: bool,
}

impl Markers {
    /// Keeps an opaque marker in the directory at `parents`, or a whiteout there of the name `hidden`.
    ///
    /// Links that the layer has by now are followed, as umoci and Docker follow them. A later entry that takes the
    /// place of a directory takes nothing away: the marker means that path of the lower layers.
    pub(super) fn add(
        &mut self,
        tree: &Tree,
        parents: &[&[u8]],
        hidden: Option<&[u8]>,
    ) -> std::result::Result<(), Reason> {
        parents.iter().copied().chain(hidden).try_for_each(tree::check_name)?;
        let Some((directory, linked)) = resolve(tree, parents)? else { return Ok(()) };
        self.paths.extend_from_slice(&directory);
        if let Some(hidden) = hidden {
            if !directory.is_empty() {
                self.paths.push(b'/');
            }
            self.paths.extend_from_slice(hidden);
        }
        self.marks.push(Mark { end: self.paths.len(), opaque: hidden.is_none(), linked });
        Ok(())
    }

    /// Bytes of memory that count as metadata.
    pub(super) fn metadata(&self) -> usize {
        self.paths.len()
    }

    /// Puts the markers into a tree that has all entries of the layer.
    ///
    /// A marker whose directory is not among them makes it, unless links lead there. It cannot do so below something
    /// that is no directory in this layer, where it has nothing to hide, and brings nothing back that another marker
    /// hides.
    ///
    /// # Errors
    /// [`Error::Limit`] for more than `max_inodes` inodes.
    pub(super) fn apply(self, tree: &mut Tree, max_inodes: u32) -> Result<()> {
        if self.marks.is_empty() {
            return Ok(());
        }
        let made = tree.nodes.len() as u32;
        let mut start = 0;
        for mark in self.marks {
            let path = &self.paths[start..mark.end];
            start = mark.end;
            put(tree, path, mark).map_err(|reason| Error::entry(path, reason))?;
            if tree.nodes.len() as u64 - 1 > u64::from(max_inodes) {
                let limit = u64::from(max_inodes);
                return Err(Error::Limit { entry: path.into(), name: "max_entries", what: "entries", limit });
            }
        }
        settle(tree, made);
        Ok(())
    }
}

/// The path of a directory, its links followed as far as the layer has them, and whether there were any; nothing if they
/// lead nowhere.
fn resolve(tree: &Tree, parents: &[&[u8]]) -> std::result::Result<Option<(Vec<u8>, bool)>, Reason> {
    let mut walk = Walk::new(parents);
    let mut names = Vec::new();
    let mut linked = false;
    while let Some(name) = walk.next() {
        // Fewer than before where a link led up again.
        names.truncate(walk.depth());
        let found = tree.child(walk.here(), &name);
        if tree.is(found, mode::SYMLINK) {
            linked = true;
            match tree.follow(&mut walk, found) {
                Err(_) if walk.is_lost() => return Ok(None),
                followed => followed?,
            }
            continue;
        }
        // Only a link can lead to such names.
        if tree::check_name(&name).is_err() || name.starts_with(WHITEOUT) {
            return Ok(None);
        }
        // A later entry may put a directory here.
        walk.enter(if tree.is(found, mode::DIRECTORY) { found } else { NO_INODE })?;
        names.push(name);
    }
    names.truncate(walk.depth());
    Ok(Some((names.join(&b'/'), linked)))
}

/// Puts one marker into the tree, with the directories on its way.
///
/// Where links lead, umoci and Docker delete names of directories that are there and make none, so those directories
/// are passive: the merge passes over them where lower layers have no directory.
fn put(tree: &mut Tree, path: &[u8], mark: Mark) -> std::result::Result<(), Reason> {
    let names: Vec<_> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
    let (hidden, parents) = if mark.opaque {
        (None, &names[..])
    } else {
        names.split_last().map_or((None, &[][..]), |(last, parents)| (Some(*last), parents))
    };
    let mut directory = ROOT;
    for name in parents {
        directory = match tree.child(directory, name) {
            NO_INODE => {
                let made = tree.add_implied(directory, name)?;
                tree.nodes[made as usize].flags |= PASSIVE as u8;
                made
            }
            found if tree.is(found, mode::DIRECTORY) => found,
            _ => return Ok(()),
        };
        if !mark.linked {
            tree.nodes[directory as usize].flags &= !(PASSIVE as u8);
        }
    }
    match hidden {
        Some(hidden) => tree.whiteout(directory, hidden)?,
        None => tree.nodes[directory as usize].flags |= OPAQUE as u8,
    }
    Ok(())
}

/// Makes what markers hide agree with what the layer has there.
///
/// A directory that was deleted and made anew has nothing of the lower layers. One that only markers name, and that
/// another marker hides, is none. Directories from `made` on are those that only markers name.
fn settle(tree: &mut Tree, made: u32) {
    // Of which directories lower layers show nothing. A directory's slot comes before those of what is in it.
    let mut hidden = vec![false; tree.nodes.len()];
    hidden[ROOT as usize] = tree.nodes[ROOT as usize].flags & OPAQUE as u8 != 0;
    for number in 0..tree.slots.len() {
        let slot = tree.slots[number];
        if !tree.is(slot.inode, mode::DIRECTORY) {
            continue;
        }
        let below = hidden[slot.parent as usize];
        let node = &mut tree.nodes[slot.inode as usize];
        if slot.inode >= made && (below || slot.whiteout) {
            tree.slots[number].inode = NO_INODE;
        } else if slot.whiteout {
            node.flags = node.flags & !(IMPLICIT as u8) | OPAQUE as u8;
        }
        hidden[slot.inode as usize] = below || slot.whiteout || node.flags & OPAQUE as u8 != 0;
    }
}
