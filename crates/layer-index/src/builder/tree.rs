//! The tree of a layer while its tar is read: inodes, and slots for names in directories.
//!
//! Inodes are never removed. When a slot gets another inode, the old inode loses the name, and the inodes below it can
//! no longer be reached. `numbering` only numbers the inodes that can be reached from the root.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::walk::Walk;
use super::{AUFS_LINKS, WHITEOUT};
use crate::error::Reason;
use crate::format::{IMPLICIT, MAX_NAME, NO_INODE, mode};
use crate::xattr::XattrTable;

/// The number of the root directory.
pub(super) const ROOT: u32 = 0;

/// An inode. It has the values of the later record in less memory.
#[derive(Clone, Copy, Default)]
pub(super) struct Node {
    /// `st_mode`.
    pub(super) mode: u16,
    /// As in `InodeRecord::flags`.
    pub(super) flags: u8,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime_nanoseconds: u32,
    pub(super) mtime_seconds: i64,
    /// Regular files: their size in bytes. Links: the size of the target in bytes.
    pub(super) size: u64,
    /// Regular files: offset in the contents file. Links: offset in `Tree::symlinks`. Devices: `rdev`.
    pub(super) data: u64,
    /// As in `InodeRecord::xattrs`.
    pub(super) xattrs: u32,
    /// 1 + the position in `Tree::digests`, or 0 without a digest.
    pub(super) digest: u32,
}

const _: () = assert!(size_of::<Node>() == 48, "memory for each entry of a layer");

/// A name in a directory, with an inode, a whiteout, both, or neither if the inode was removed later.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) parent: u32,
    name_offset: u32,
    name_length: u8,
    /// Whether the name is deleted from lower layers.
    pub(super) whiteout: bool,
    /// The inode that this layer has under the name, or [`NO_INODE`].
    pub(super) inode: u32,
}

/// The inodes and names of a layer.
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) slots: Vec<Slot>,
    pub(super) names: Vec<u8>,
    pub(super) symlinks: Vec<u8>,
    pub(super) xattrs: XattrTable,
    pub(super) digests: Vec<[u8; 32]>,
    table: HashTable<u32>,
    /// Seeded at random, because an attacker may choose the names. The output does not depend on the seed.
    hasher: RandomState,
    /// The path and number of the directory used last. Entries of one directory mostly follow each other.
    last_directory: Option<(Vec<u8>, u32)>,
    /// The total size in bytes of the symbolic link targets that paths have led through.
    followed: Cell<u64>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![implied_directory()],
            slots: Vec::new(),
            names: Vec::new(),
            symlinks: Vec::new(),
            xattrs: XattrTable::default(),
            digests: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            last_directory: None,
            followed: Cell::new(0),
        }
    }

    /// Returns whether an inode, which may be [`NO_INODE`], has this type.
    pub(super) fn is_kind(&self, inode: u32, kind: u32) -> bool {
        inode != NO_INODE && self.nodes[inode as usize].kind() == kind
    }

    pub(super) fn add_node(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// Returns the size in bytes of the stored names, link targets and xattrs.
    pub(super) fn metadata_size(&self) -> usize {
        self.names.len() + self.symlinks.len() + self.xattrs.bytes.len()
    }

    /// Frees the hash tables, which only adding names and xattrs needs.
    pub(super) fn free_tables(&mut self) {
        self.table = HashTable::new();
        self.xattrs.free_tables();
    }

    pub(super) fn name(&self, slot: &Slot) -> &[u8] {
        let start = slot.name_offset as usize;
        &self.names[start..start + usize::from(slot.name_length)]
    }

    /// Stores the target of a link, and sets its place in `node`.
    pub(super) fn add_target(&mut self, target: &[u8], node: &mut Node) {
        node.size = target.len() as u64;
        node.data = self.symlinks.len() as u64;
        self.symlinks.extend_from_slice(target);
    }

    pub(super) fn target(&self, inode: u32) -> &[u8] {
        let node = &self.nodes[inode as usize];
        &self.symlinks[node.data as usize..(node.data + node.size) as usize]
    }

    /// Returns the slot of a name, or `None` if the layer has neither an entry nor a marker for it.
    pub(super) fn slot(&self, parent: u32, name: &[u8]) -> Option<&Slot> {
        let same = |&number: &u32| {
            let slot = &self.slots[number as usize];
            slot.parent == parent && self.name(slot) == name
        };
        self.table.find(self.hash(parent, name), same).map(|&number| &self.slots[number as usize])
    }

    /// Returns the inode with a name, or [`NO_INODE`].
    pub(super) fn child(&self, parent: u32, name: &[u8]) -> u32 {
        self.slot(parent, name).map_or(NO_INODE, |slot| slot.inode)
    }

    /// Gives an inode a name, in place of any other inode with the name.
    pub(super) fn set_inode(&mut self, parent: u32, name: &[u8], inode: u32) -> Result<(), Reason> {
        let slot = self.slot_for(parent, name)?;
        if std::mem::replace(&mut slot.inode, inode) != NO_INODE {
            self.last_directory = None;
        }
        Ok(())
    }

    /// Deletes a name from lower layers.
    pub(super) fn add_whiteout(&mut self, parent: u32, name: &[u8]) -> Result<(), Reason> {
        self.slot_for(parent, name)?.whiteout = true;
        Ok(())
    }

    /// Returns the slot of a name, and creates it if it is missing.
    fn slot_for(&mut self, parent: u32, name: &[u8]) -> Result<&mut Slot, Reason> {
        check_name(name)?;
        let hash = self.hash(parent, name);
        let (slots, names) = (&self.slots, &self.names);
        let name_of = |slot: &Slot| {
            let start = slot.name_offset as usize;
            &names[start..start + usize::from(slot.name_length)]
        };
        let same = |&number: &u32| {
            let slot = &slots[number as usize];
            slot.parent == parent && name_of(slot) == name
        };
        let rehash = |&number: &u32| {
            let slot = &slots[number as usize];
            self.hasher.hash_one((slot.parent, name_of(slot)))
        };
        let number = match self.table.entry(hash, same, rehash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let name_offset = u32::try_from(names.len()).map_err(|_| "more names than an index can hold")?;
                let number = slots.len() as u32;
                entry.insert(number);
                self.names.extend_from_slice(name);
                self.slots.push(Slot {
                    parent,
                    name_offset,
                    name_length: name.len() as u8,
                    whiteout: false,
                    inode: NO_INODE,
                });
                number
            }
        };
        Ok(&mut self.slots[number as usize])
    }

    fn hash(&self, parent: u32, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }

    /// Continues a walk along the target of a symbolic link.
    pub(super) fn follow(&self, walk: &mut Walk, link: u32) -> Result<(), Reason> {
        walk.follow(self.target(link), &self.followed)
    }

    /// Adds a directory that has no entry of its own, and returns its number.
    pub(super) fn add_implied(&mut self, parent: u32, name: &[u8]) -> Result<u32, Reason> {
        let directory = self.add_node(implied_directory());
        self.set_inode(parent, name, directory).map(|()| directory)
    }

    /// Returns the directory at a path, and creates missing directories. Follows symbolic links within this layer.
    pub(super) fn create_directory(&mut self, path: &[&[u8]]) -> Result<u32, Reason> {
        if path.is_empty() {
            return Ok(ROOT);
        }
        if let Some((_, directory)) = self.last_directory.as_ref().filter(|(last, _)| is_joined(last, path)) {
            return Ok(*directory);
        }
        let mut walk = Walk::new(path);
        while let Some(step) = walk.next() {
            let (parent, name) = (*step.directory, step.name);
            match self.child(parent, name) {
                NO_INODE => {
                    // The name comes from the target of a link. Readers would take a directory of this name for a
                    // whiteout.
                    if name.starts_with(WHITEOUT) && name != AUFS_LINKS {
                        return Err(format!("its parent {:?} is a whiteout", bstr::BStr::new(name)).into());
                    }
                    let directory = self.add_implied(parent, name)?;
                    walk.enter(directory)?;
                }
                found if self.is_kind(found, mode::DIRECTORY) => walk.enter(found)?,
                found if self.is_kind(found, mode::SYMLINK) => self.follow(&mut walk, found)?,
                _ => return Err(format!("its parent {:?} is not a directory", bstr::BStr::new(name)).into()),
            }
        }
        let directory = walk.current();
        self.last_directory = Some((path.join(&b'/'), directory));
        Ok(directory)
    }

    /// Finds the inode at a path of this layer, or returns [`NO_INODE`]. A symbolic link at the end is not followed.
    pub(super) fn find_inode(&self, path: &[&[u8]]) -> u32 {
        let Some((last, parents)) = path.split_last() else { return ROOT };
        let mut walk = Walk::new(parents);
        while let Some(step) = walk.next() {
            let moved = match self.child(*step.directory, step.name) {
                found if self.is_kind(found, mode::DIRECTORY) => walk.enter(found),
                found if self.is_kind(found, mode::SYMLINK) => self.follow(&mut walk, found),
                _ => return NO_INODE,
            };
            if moved.is_err() {
                return NO_INODE;
            }
        }
        self.child(walk.current(), last)
    }
}

impl Node {
    /// Returns the type bits of the mode.
    pub(super) fn kind(&self) -> u32 {
        u32::from(self.mode) & mode::TYPE
    }
}

/// Returns a directory that has no entry of its own.
fn implied_directory() -> Node {
    Node { mode: (mode::DIRECTORY | 0o755) as u16, flags: IMPLICIT as u8, ..Node::default() }
}

/// Returns whether `path` consists of `names` with slashes between them.
fn is_joined(path: &[u8], names: &[&[u8]]) -> bool {
    let length = names.iter().map(|name| name.len() + 1).sum::<usize>().saturating_sub(1);
    path.len() == length && path.split(|&byte| byte == b'/').eq(names.iter().copied())
}

/// Checks that a directory can have an entry of this name.
pub(super) fn check_name(name: &[u8]) -> Result<(), Reason> {
    match name {
        b"" | b"." | b".." => Err(format!("{:?} is not a name", bstr::BStr::new(name)).into()),
        _ if name.len() > MAX_NAME => {
            Err(Reason::limit("MAX_NAME", format!("a name of {} bytes, {MAX_NAME} at most", name.len())))
        }
        _ if name.contains(&0) => Err("a name with a NUL in it".into()),
        _ => Ok(()),
    }
}

/// Splits a tar path into names, without empty names and `.`.
///
/// A path with `..` is an error and is not normalised: no tool writes such a path, and its meaning depends on links.
pub(super) fn split_path(path: &[u8]) -> Result<Vec<&[u8]>, Reason> {
    let names: Vec<_> = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    if names.contains(&&b".."[..]) {
        return Err("a path with \"..\" in it".into());
    }
    Ok(names)
}
