//! Whiteouts and opaque markers. They are applied when the layer is complete, since their position in the tar has no
//! meaning.

use super::WHITEOUT;
use super::tree::{self, ROOT, Tree};
use super::walk::Walk;
use crate::error::Reason;
use crate::format::{IMPLICIT, NO_INODE, OPAQUE, PASSIVE, mode};
use crate::{Error, Result};

/// The markers of a layer.
#[derive(Default)]
pub(super) struct Markers {
    /// The paths of all markers, without separators between them.
    paths: Vec<u8>,
    markers: Vec<Marker>,
}

#[derive(Clone, Copy)]
struct Marker {
    /// The end of the marker's path in [`Markers::paths`].
    end: usize,
    /// Whether the path is an opaque directory, whose lower entries are hidden. Otherwise it is a hidden name.
    opaque: bool,
    /// Whether the marker's path leads through symbolic links of the layer.
    linked: bool,
}

impl Markers {
    /// Adds a whiteout of the name `hidden` in the directory at `parents`, or an opaque marker for the directory if
    /// `hidden` is `None`.
    ///
    /// Follows the symbolic links that the layer has so far, as umoci and Docker do. A later entry that replaces a
    /// directory of the path does not remove the marker, because it applies to the path in lower layers.
    pub(super) fn add(
        &mut self,
        tree: &Tree,
        parents: &[&[u8]],
        hidden: Option<&[u8]>,
    ) -> std::result::Result<(), Reason> {
        parents.iter().copied().chain(hidden).try_for_each(tree::check_name)?;
        let Some((directory, linked)) = resolve_path(tree, parents)? else { return Ok(()) };
        self.paths.extend_from_slice(&directory);
        if let Some(hidden) = hidden {
            if !directory.is_empty() {
                self.paths.push(b'/');
            }
            self.paths.extend_from_slice(hidden);
        }
        self.markers.push(Marker { end: self.paths.len(), opaque: hidden.is_none(), linked });
        Ok(())
    }

    /// Returns the bytes of memory that count as metadata.
    pub(super) fn metadata_size(&self) -> usize {
        self.paths.len()
    }

    /// Applies the markers to a tree that has all entries of the layer.
    ///
    /// A marker creates its directory if it is missing. It creates no directory if its path leads through links, or
    /// below a file of this layer, where there is nothing to hide. It does not bring back a directory that another
    /// marker hides.
    ///
    /// # Errors
    /// - [`Error::Limit`] when the tree would have more than `max_inodes` inodes.
    /// - [`Error::InvalidEntry`] and [`Error::EntryLimit`] when a path of a marker cannot be added.
    pub(super) fn apply(self, tree: &mut Tree, max_inodes: u32) -> Result<()> {
        if self.markers.is_empty() {
            return Ok(());
        }
        let first_new = tree.nodes.len() as u32;
        let mut start = 0;
        for marker in self.markers {
            let path = &self.paths[start..marker.end];
            start = marker.end;
            apply_marker(tree, path, marker).map_err(|reason| Error::entry(path, reason))?;
            if tree.nodes.len() as u64 - 1 > u64::from(max_inodes) {
                let limit = u64::from(max_inodes);
                return Err(Error::Limit { entry: path.into(), name: "max_entries", what: "entries", limit });
            }
        }
        update_hidden_directories(tree, first_new);
        Ok(())
    }
}

/// Resolves the symbolic links of the layer in the path of a directory.
///
/// Returns the resolved path and whether it leads through links. Returns `None` if it leads through too many links, or
/// to a name that no directory can have.
fn resolve_path(tree: &Tree, parents: &[&[u8]]) -> std::result::Result<Option<(Vec<u8>, bool)>, Reason> {
    let mut walk = Walk::new(parents);
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut linked = false;
    while let Some(step) = walk.next() {
        let name = step.name;
        let found = tree.child(*step.directory, name);
        if tree.is_kind(found, mode::SYMLINK) {
            linked = true;
            match tree.follow(&mut walk, found) {
                Err(_) if walk.exceeds_link_limit() => return Ok(None),
                followed => followed?,
            }
            continue;
        }
        // Only the target of a link can have such names.
        if tree::check_name(name).is_err() || name.starts_with(WHITEOUT) {
            return Ok(None);
        }
        let name = name.to_vec();
        // The walk may have moved up, through a link with `..` or an absolute link.
        names.truncate(walk.depth());
        names.push(name);
        // A missing directory is entered as well, since a later entry may create it.
        walk.enter(if tree.is_kind(found, mode::DIRECTORY) { found } else { NO_INODE })?;
    }
    names.truncate(walk.depth());
    Ok(Some((names.join(&b'/'), linked)))
}

/// Applies one marker to the tree, and creates the missing directories of its path.
///
/// For a path through links, umoci and Docker delete names in existing directories, and create none. The new
/// directories of such a path are therefore passive: the merge ignores them if lower layers have no directory there.
fn apply_marker(tree: &mut Tree, path: &[u8], marker: Marker) -> std::result::Result<(), Reason> {
    let names: Vec<_> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).collect();
    let (hidden, parents) = if marker.opaque {
        (None, &names[..])
    } else {
        names.split_last().map_or((None, &[][..]), |(last, parents)| (Some(*last), parents))
    };
    let mut directory = ROOT;
    for name in parents {
        directory = match tree.child(directory, name) {
            NO_INODE => {
                let new = tree.add_implied(directory, name)?;
                tree.nodes[new as usize].flags |= PASSIVE as u8;
                new
            }
            found if tree.is_kind(found, mode::DIRECTORY) => found,
            _ => return Ok(()),
        };
        if !marker.linked {
            tree.nodes[directory as usize].flags &= !(PASSIVE as u8);
        }
    }
    match hidden {
        Some(hidden) => tree.add_whiteout(directory, hidden)?,
        None => tree.nodes[directory as usize].flags |= OPAQUE as u8,
    }
    Ok(())
}

/// Updates the directories of this layer that its markers hide.
///
/// A hidden directory that the layer creates anew becomes opaque and is no longer implied, so that it has neither
/// entries nor attributes of lower layers. A hidden directory that only markers created is removed. These are the
/// directories from number `first_new` on.
fn update_hidden_directories(tree: &mut Tree, first_new: u32) {
    // The directories whose lower entries are all hidden. The slot of a directory comes before the slots in it.
    let mut hidden = vec![false; tree.nodes.len()];
    hidden[ROOT as usize] = tree.nodes[ROOT as usize].flags & OPAQUE as u8 != 0;
    for number in 0..tree.slots.len() {
        let slot = tree.slots[number];
        if !tree.is_kind(slot.inode, mode::DIRECTORY) {
            continue;
        }
        let below = hidden[slot.parent as usize];
        let node = &mut tree.nodes[slot.inode as usize];
        if slot.inode >= first_new && (below || slot.whiteout) {
            tree.slots[number].inode = NO_INODE;
        } else if slot.whiteout {
            node.flags = node.flags & !(IMPLICIT as u8) | OPAQUE as u8;
        }
        hidden[slot.inode as usize] = below || slot.whiteout || node.flags & OPAQUE as u8 != 0;
    }
}
