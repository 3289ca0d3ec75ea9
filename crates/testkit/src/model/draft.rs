//! Builds the tree of a single layer.

use std::collections::BTreeMap;

use super::name::{self, Role};
use super::tree::{Directory, InodeId, ROOT, State, Tree, WalkError};
use super::{LINK_LIMIT, NAME_LIMIT};
use crate::error::{Error, Reason, Result};
use crate::layer::{Attributes, Entry, Kind, Layer, WHITEOUT_PREFIX};

impl Tree {
    /// Builds the tree of a layer beside the merged one. Returns its root and the layer's markers.
    pub(super) fn draft(&mut self, layer: &Layer) -> Result<(InodeId, Vec<Marker>)> {
        let root = self.add_implicit();
        let mut markers = Vec::new();
        for (index, entry) in layer.entries.iter().enumerate() {
            self.enter(root, index, entry, &mut markers).map_err(|reason| error(layer, index, reason))?;
        }
        self.resolve_pending(root).map_err(|(index, reason)| error(layer, index, reason))?;
        Ok((root, markers))
    }

    fn enter(
        &mut self,
        root: InodeId,
        index: usize,
        entry: &Entry,
        markers: &mut Vec<Marker>,
    ) -> std::result::Result<(), Reason> {
        let path = name::components(&entry.name)?;
        let Some((last, parents)) = path.split_last() else {
            if !is_directory(entry) {
                return Err(Reason::RootNotADirectory);
            }
            self.set_directory(root, &entry.attributes);
            return Ok(());
        };
        let role = name::role(parents, last)?;
        // Resolved before any change, because this entry may replace the target.
        let target = match &entry.kind {
            Kind::HardLink(target) if role == Role::Plain => Some(self.link_target(root, index, target)?),
            _ => None,
        };
        let hidden = match role {
            Role::Plain => {
                let parent = self.make_parents(root, parents)?;
                self.place(parent, last, entry, target);
                return Ok(());
            }
            Role::Opaque => None,
            Role::Whiteout(hidden) => Some(hidden.to_vec()),
        };
        if let Some((directory, linked)) = self.real_path(root, parents) {
            markers.push(Marker { directory, hidden, linked });
        }
        Ok(())
    }

    /// Resolves the links in a path of the layer so far. Returns the path without links, and whether there were any;
    /// `None` if the path leads nowhere.
    fn real_path(&self, root: InodeId, path: &[Vec<u8>]) -> Option<(Vec<Vec<u8>>, bool)> {
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut ahead: Vec<Vec<u8>> = path.iter().rev().cloned().collect();
        let mut links = 0;
        while let Some(component) = ahead.pop() {
            if component == b".." {
                real.pop();
                continue;
            }
            real.push(component);
            // `real` contains no links, so this follows none.
            let Some(State::Leaf(Kind::Symlink(target))) = self.find(root, &real).map(|id| &self.inodes[id].state)
            else {
                continue;
            };
            links += 1;
            if links > LINK_LIMIT {
                return None;
            }
            real.pop();
            if target.starts_with(b"/") {
                real.clear();
            }
            ahead.extend(name::split(target).into_iter().rev());
        }
        let nameable = |part: &Vec<u8>| part.len() <= NAME_LIMIT && !part.starts_with(WHITEOUT_PREFIX);
        real.iter().all(nameable).then_some((real, links > 0))
    }

    fn place(&mut self, parent: InodeId, name: &[u8], entry: &Entry, target: Option<InodeId>) {
        let existing = self.directory(parent).and_then(|directory| directory.children.get(name).copied());
        if is_directory(entry) && existing.is_some_and(|id| self.directory(id).is_some()) {
            return self.set_directory(existing.expect("it was just looked at"), &entry.attributes);
        }
        let id = match (target, is_directory(entry)) {
            (Some(target), _) => target,
            (None, true) => self.add(entry.attributes.clone(), State::Directory(Directory::default())),
            (None, false) => {
                let mut attributes = entry.attributes.clone();
                if matches!(entry.kind, Kind::Symlink(_)) {
                    attributes.mode = 0o777;
                }
                self.add(attributes, State::Leaf(entry.kind.clone()))
            }
        };
        self.directory_mut(parent).children.insert(name.to_vec(), id);
    }

    fn set_directory(&mut self, id: InodeId, attributes: &Attributes) {
        self.inodes[id].attributes = attributes.clone();
        self.directory_mut(id).implicit = false;
    }

    /// Returns the directory with this path in the layer. Missing directories are created.
    fn make_parents(&mut self, root: InodeId, parents: &[Vec<u8>]) -> std::result::Result<InodeId, Reason> {
        loop {
            match self.walk(root, parents) {
                Ok(id) => return Ok(id),
                Err(WalkError::Refused(reason)) => return Err(reason),
                Err(WalkError::Missing(directory, name)) => {
                    let made = self.add_implicit();
                    self.directory_mut(directory).children.insert(name, made);
                }
            }
        }
    }

    /// Returns the inode of a hard link's target, or a new pending inode.
    fn link_target(&mut self, root: InodeId, index: usize, target: &[u8]) -> std::result::Result<InodeId, Reason> {
        let path = name::components(target)?;
        match self.find(root, &path) {
            Some(id) if self.directory(id).is_some() => Err(Reason::LinkToDirectory(target.to_vec())),
            Some(id) => Ok(id),
            None => Ok(self.add(Attributes::with_mode(0), State::Pending(index, path))),
        }
    }

    /// Gives every pending link of a complete layer its inode. A pending link cannot be part of another's path until
    /// all are resolved.
    fn resolve_pending(&mut self, root: InodeId) -> std::result::Result<(), (usize, Reason)> {
        let links = self.pending(root);
        let mut found: BTreeMap<InodeId, InodeId> = BTreeMap::new();
        let mut waiting: Vec<&PendingLink> = links.iter().collect();
        while let Some(first) = waiting.first().copied() {
            let before = waiting.len();
            let mut still_waiting = Vec::new();
            for link in waiting {
                match self.resolve(root, link, &found)? {
                    Some(id) => drop(found.insert(link.id, id)),
                    None => still_waiting.push(link),
                }
            }
            if still_waiting.len() == before {
                return Err((first.index, Reason::LinkTargetMissing(first.target.join(&b'/'))));
            }
            waiting = still_waiting;
        }
        for link in links {
            self.directory_mut(link.parent).children.insert(link.name, found[&link.id]);
        }
        Ok(())
    }

    /// Returns the inode of a link's target, unless that is itself an unresolved pending link.
    fn resolve(
        &self,
        root: InodeId,
        link: &PendingLink,
        found: &BTreeMap<InodeId, InodeId>,
    ) -> std::result::Result<Option<InodeId>, (usize, Reason)> {
        // A directory of this layer may have replaced the lower file that the link refers to.
        let own = self.find(root, &link.target).filter(|id| self.directory(*id).is_none());
        let Some(id) = own.or_else(|| self.find(ROOT, &link.target)) else {
            return Err((link.index, Reason::LinkTargetMissing(link.target.join(&b'/'))));
        };
        match &self.inodes[id].state {
            State::Directory(_) => Err((link.index, Reason::LinkToDirectory(link.target.join(&b'/')))),
            State::Pending(..) => Ok(found.get(&id).copied()),
            State::Leaf(_) => Ok(Some(id)),
        }
    }

    /// Returns the pending links of a layer in the order of its tar.
    fn pending(&self, root: InodeId) -> Vec<PendingLink> {
        let mut found = Vec::new();
        let mut directories = vec![root];
        while let Some(parent) = directories.pop() {
            let directory = self.directory(parent).expect("only directories are visited");
            for (name, id) in &directory.children {
                match &self.inodes[*id].state {
                    State::Directory(_) => directories.push(*id),
                    State::Pending(index, target) => {
                        let (name, target) = (name.clone(), target.clone());
                        found.push(PendingLink { id: *id, index: *index, parent, name, target });
                    }
                    State::Leaf(_) => {}
                }
            }
        }
        found.sort_by_key(|link| link.index);
        found
    }
}

/// A whiteout or an opaque marker.
pub(super) struct Marker {
    /// The path of the marker's directory, without links.
    pub(super) directory: Vec<Vec<u8>>,
    /// The name that is hidden in the directory; `None` for all names.
    pub(super) hidden: Option<Vec<u8>>,
    /// Whether the path to the directory had links of the layer.
    pub(super) linked: bool,
}

/// A hard link whose target was not yet in the layer.
struct PendingLink {
    id: InodeId,
    index: usize,
    parent: InodeId,
    name: Vec<u8>,
    target: Vec<Vec<u8>>,
}

fn is_directory(entry: &Entry) -> bool {
    entry.kind == Kind::Directory
}

fn error(layer: &Layer, index: usize, reason: Reason) -> Error {
    Error::Entry { index, entry: Box::new(layer.entries[index].clone()), reason }
}
