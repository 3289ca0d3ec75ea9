//! Checks of dirents: their names, their order, and that they form a tree.

use bstr::ByteSlice;

use super::{Check, Tables, ensure};
use crate::access::name_prefix;
use crate::format::{DirentRecord, InodeRecord, KIND_LAYER, MAX_NAME, NO_INODE, mode};
use crate::inode::{DirentKind, InodeKind};

/// The state of the check between two dirents.
struct Walk<'a> {
    names: &'a [u8],
    /// The offset of the next name in `names`.
    next_name: usize,
    /// The number of the next inode that occurs for the first time.
    next_inode: u32,
    /// The number of dirents of each inode so far.
    references: Vec<u32>,
}

impl Tables<'_> {
    /// Checks that names are sorted and cover NAMES in order, and that inodes are numbered breadth first.
    ///
    /// A directory has exactly one name, in a directory with a smaller number, so no walk can loop. Another inode has
    /// as many names as its link count.
    pub(super) fn check_dirents(&self) -> Check<()> {
        ensure!(self.names.find_byteset(b"/\0").is_none(), "a name has a slash or a NUL in it");
        let references = vec![0; self.inodes.len()];
        let mut walk = Walk { names: self.names, next_name: 0, next_inode: 1, references };
        for (number, directory) in self.inodes.iter().enumerate() {
            if directory.mode.get() & mode::TYPE == mode::DIRECTORY {
                ensure!((number as u32) < walk.next_inode, "directory {number} has no name in a directory before it");
                self.check_directory(number, directory, &mut walk)?;
            }
        }
        ensure!(walk.next_inode as usize == self.inodes.len(), "no dirent names inode {}", walk.next_inode);
        ensure!(walk.next_name == self.names.len(), "bytes of NAMES that do not belong to a dirent");
        for (number, (inode, references)) in self.inodes.iter().zip(&walk.references).enumerate() {
            let named = inode.mode.get() & mode::TYPE == mode::DIRECTORY || inode.nlink.get() == *references;
            ensure!(named, "inode {number} is named by {references} dirents");
        }
        Ok(())
    }

    fn check_directory(&self, number: usize, directory: &InodeRecord, walk: &mut Walk<'_>) -> Check<()> {
        let first = directory.data.get() as usize;
        let mut subdirectories = 0_u32;
        let mut last: ([u8; 4], &[u8]) = ([0; 4], &[]);
        for (position, dirent) in self.dirents[first..first + directory.count.get() as usize].iter().enumerate() {
            let place = || format!("dirent {position} of directory {number}");
            let name = walk.take_name(dirent).ok_or_else(|| format!("{} has an invalid name", place()))?;
            // Names only need to be compared if their prefixes are equal.
            let sorted = last.0 < dirent.prefix || (last.0 == dirent.prefix && last.1 < name);
            ensure!(sorted, "{} is not sorted by name", place());
            last = (dirent.prefix, name);
            let inode = dirent.inode.get();
            let kind = DirentKind::of_record(dirent.kind);
            match kind.ok_or_else(|| format!("{} has kind {:#x}", place(), dirent.kind))? {
                DirentKind::Whiteout => {
                    ensure!(self.kind == KIND_LAYER, "{} is a whiteout, in a root", place());
                    ensure!(inode == NO_INODE, "{} is a whiteout with an inode", place());
                }
                DirentKind::Inode(kind) => {
                    let named = self.inodes.get(inode as usize).and_then(|named| InodeKind::of_mode(named.mode.get()));
                    ensure!(named == Some(kind), "{} does not agree with inode {inode}", place());
                    let is_directory = kind == InodeKind::Directory;
                    ensure!(walk.visit(inode, is_directory), "{} names inode {inode} out of order", place());
                    subdirectories += u32::from(is_directory);
                }
            }
        }
        let links = subdirectories.saturating_add(2);
        ensure!(directory.nlink.get() == links, "directory {number} has a wrong link count");
        Ok(())
    }
}

impl<'a> Walk<'a> {
    /// Returns the name of the next dirent, or `None` if it is invalid.
    fn take_name(&mut self, dirent: &DirentRecord) -> Option<&'a [u8]> {
        let start = self.next_name;
        let name = self.names.get(start..start + usize::from(dirent.name_length.get()))?;
        self.next_name += name.len();
        let valid = (1..=MAX_NAME).contains(&name.len())
            && dirent.name_offset.get() as usize == start
            && dirent.prefix == name_prefix(name)
            && name != b"."
            && name != b".."
            && dirent.reserved == 0;
        valid.then_some(name)
    }

    /// Counts a name of an existing inode, and returns whether the inode may have a name at this position.
    fn visit(&mut self, inode: u32, is_directory: bool) -> bool {
        self.references[inode as usize] += 1;
        if inode == self.next_inode {
            self.next_inode += 1;
            return true;
        }
        inode < self.next_inode && !is_directory
    }
}
