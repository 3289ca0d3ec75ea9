//! Numbering the inodes of a layer in the order of the index: breadth first, the names of a directory in byte order.

use super::WHITEOUT;
use super::tree::{self, Node, Slot, Tree};
use crate::access::name_prefix;
use crate::format::{DirentRecord, InodeRecord, KIND_WHITEOUT, NO_INODE, mode};
use crate::inode::InodeKind;

/// The inodes that can be reached from the root, and their dirents, in the order of the index.
pub(super) struct Numbering<'a> {
    tree: &'a Tree,
    /// The tree's inode of each number.
    order: Vec<u32>,
    /// The number of each inode of the tree, or [`NO_INODE`] for an inode that cannot be reached.
    numbers: Vec<u32>,
    /// For each number, the count of dirents of the inode, or of subdirectories if it is a directory.
    references: Vec<u32>,
    /// For each inode of the tree, the position in `slots` of its first slot. The last element is the length of
    /// `slots`.
    starts: Vec<u32>,
    /// The numbers of the slots that become dirents, grouped by directory and sorted by name.
    slots: Vec<u32>,
}

impl<'a> Numbering<'a> {
    /// Numbers the inodes of a complete tree.
    pub(super) fn of(tree: &'a Tree) -> Self {
        let (starts, slots) = slots_by_parent(tree);
        let mut numbers = vec![NO_INODE; tree.nodes.len()];
        numbers[tree::ROOT as usize] = 0;
        let mut numbering = Self { tree, order: vec![tree::ROOT], numbers, references: vec![0], starts, slots };
        let mut next = 0;
        while let Some(&directory) = numbering.order.get(next) {
            numbering.number_children(next, directory);
            next += 1;
        }
        numbering
    }

    /// Sorts the slots of a directory, and numbers its inodes that have no number yet.
    fn number_children(&mut self, number: usize, directory: u32) {
        let tree = self.tree;
        let run = self.starts[directory as usize] as usize..self.starts[directory as usize + 1] as usize;
        let name = |slot: u32| tree.name(&tree.slots[slot as usize]);
        self.slots[run.clone()].sort_unstable_by(|&a, &b| name(a).cmp(name(b)));
        for place in run {
            let inode = tree.slots[self.slots[place] as usize].inode;
            if inode == NO_INODE {
                continue;
            }
            if self.numbers[inode as usize] == NO_INODE {
                self.numbers[inode as usize] = self.order.len() as u32;
                self.order.push(inode);
                self.references.push(0);
            }
            if tree.is_kind(inode, mode::DIRECTORY) {
                self.references[number] += 1;
            } else {
                self.references[self.numbers[inode as usize] as usize] += 1;
            }
        }
    }

    /// Returns the tree's inodes in the order of the index.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &'a Node> {
        self.order.iter().map(|&inode| &self.tree.nodes[inode as usize])
    }

    /// Returns the records of INODES. Their data in other sections has the same order.
    pub(super) fn inodes(&self) -> impl Iterator<Item = InodeRecord> {
        let (mut dirents, mut symlinks, mut digests) = (0, 0, 0);
        self.order.iter().zip(&self.references).map(move |(&inode, &references)| {
            let node = &self.tree.nodes[inode as usize];
            let mut record = InodeRecord {
                mode: u32::from(node.mode).into(),
                uid: node.uid.into(),
                gid: node.gid.into(),
                nlink: references.into(),
                mtime_seconds: node.mtime_seconds.into(),
                mtime_nanoseconds: node.mtime_nanoseconds.into(),
                size: node.size.into(),
                xattrs: node.xattrs.into(),
                flags: u32::from(node.flags).into(),
                ..InodeRecord::default()
            };
            match node.kind() {
                mode::DIRECTORY => {
                    let count = self.starts[inode as usize + 1] - self.starts[inode as usize];
                    record.nlink = (references + 2).into();
                    (record.data, record.count) = (u64::from(dirents).into(), count.into());
                    dirents += count;
                }
                mode::SYMLINK | mode::LINK => {
                    (record.data, record.count) = (symlinks.into(), (node.size as u32).into());
                    symlinks += node.size;
                }
                mode::REGULAR if node.digest != 0 => {
                    digests += 1;
                    (record.data, record.digest) = (node.data.into(), digests.into());
                }
                mode::CHARACTER | mode::BLOCK => record.rdev = (node.data as u32).into(),
                _ => {}
            }
            record
        })
    }

    /// Returns the records of DIRENTS. Their names in NAMES have the same order.
    pub(super) fn dirents(&self) -> impl Iterator<Item = DirentRecord> {
        let mut offset = 0;
        self.dirent_slots().map(move |slot| {
            let name = self.tree.name(slot);
            let name_offset = offset;
            offset += name.len() as u32;
            let (inode, kind) = match slot.inode {
                NO_INODE => (NO_INODE, KIND_WHITEOUT),
                inode => {
                    let kind = InodeKind::of_mode(self.tree.nodes[inode as usize].kind());
                    let kind = kind.expect("entries have no other types");
                    (self.numbers[inode as usize], kind.dirent_kind())
                }
            };
            DirentRecord {
                name_offset: name_offset.into(),
                inode: inode.into(),
                prefix: name_prefix(name),
                name_length: (name.len() as u16).into(),
                kind,
                reserved: 0,
            }
        })
    }

    /// Returns the names of the dirents, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.dirent_slots().map(|slot| self.tree.name(slot))
    }

    fn dirent_slots(&self) -> impl Iterator<Item = &'a Slot> {
        let tree = self.tree;
        let directories = self.order.iter().filter(move |inode| tree.is_kind(**inode, mode::DIRECTORY));
        directories.flat_map(move |&inode| {
            let run = self.starts[inode as usize] as usize..self.starts[inode as usize + 1] as usize;
            self.slots[run].iter().map(move |&slot| &tree.slots[slot as usize])
        })
    }
}

/// Returns the position of each inode's first slot, and the numbers of the slots that become dirents, grouped by
/// directory.
fn slots_by_parent(tree: &Tree) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; tree.nodes.len() + 1];
    let dirents = || tree.slots.iter().enumerate().filter(|(_, slot)| is_dirent(tree, slot));
    for (_, slot) in dirents() {
        starts[slot.parent as usize + 1] += 1;
    }
    for inode in 1..starts.len() {
        starts[inode] += starts[inode - 1];
    }
    let mut slots = vec![0; starts[tree.nodes.len()] as usize];
    // Filling a run moves its start to the start of the next run. The rotation below moves all starts back.
    for (number, slot) in dirents() {
        let place = &mut starts[slot.parent as usize];
        slots[*place as usize] = number as u32;
        *place += 1;
    }
    starts.rotate_right(1);
    starts[0] = 0;
    (starts, slots)
}

fn is_dirent(tree: &Tree, slot: &Slot) -> bool {
    match slot.inode {
        NO_INODE => slot.whiteout,
        // Only AUFS's own files have such names.
        _ => !tree.name(slot).starts_with(WHITEOUT),
    }
}
