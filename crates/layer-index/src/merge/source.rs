//! One index of a merge, with its sections as slices.

use std::cmp::Ordering;

use crate::access::name_of;
use crate::format::{DirentRecord, IMPLICIT, InodeRecord, OPAQUE, PASSIVE, Section};
use crate::inode::{DirentKind, Inode, InodeKind};
use crate::open::{Index, InodeId};

/// An index to merge. It keeps slices of its sections, because a merge reads every record.
pub(super) struct Source<'a> {
    pub(super) index: &'a Index,
    inodes: &'a [InodeRecord],
    dirents: &'a [DirentRecord],
    names: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        let (inodes, dirents) = (index.records(Section::Inodes), index.records(Section::Dirents));
        Self { index, inodes, dirents, names: index.section(Section::Names) }
    }

    pub(super) fn inode(&self, inode: u32) -> Inode<'a> {
        self.index.inode(InodeId(inode))
    }

    pub(super) fn record(&self, inode: u32) -> &'a InodeRecord {
        &self.inodes[inode as usize]
    }

    pub(super) fn is_opaque(&self, directory: u32) -> bool {
        self.record(directory).flags.get() & OPAQUE != 0
    }

    pub(super) fn is_implicit(&self, directory: u32) -> bool {
        self.record(directory).flags.get() & IMPLICIT != 0
    }

    pub(super) fn is_passive(&self, directory: u32) -> bool {
        self.record(directory).flags.get() & PASSIVE != 0
    }

    pub(super) fn dirent(&self, dirent: u32) -> &'a DirentRecord {
        &self.dirents[dirent as usize]
    }

    pub(super) fn name(&self, dirent: u32) -> &'a [u8] {
        name_of(self.dirent(dirent), self.names)
    }

    /// Returns the number and kind of a dirent's inode, or `None` for a whiteout.
    pub(super) fn target(&self, dirent: u32) -> Option<(u32, InodeKind)> {
        let record = self.dirent(dirent);
        match DirentKind::of_record(record.kind).expect("open() checked the kind of every dirent") {
            DirentKind::Inode(kind) => Some((record.inode.get(), kind)),
            DirentKind::Whiteout => None,
        }
    }

    /// Returns the numbers of a directory's first dirent and of the one after its last.
    pub(super) fn children(&self, directory: u32) -> (u32, u32) {
        let record = self.record(directory);
        let first = record.data.get() as u32;
        (first, first + record.count.get())
    }

    /// Finds the dirent with a name in a directory.
    pub(super) fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        let (first, end) = self.children(directory);
        self.index.find_dirent(first as usize..end as usize, name).map(|dirent| dirent as u32)
    }
}

/// The position of a merge in the dirents of one directory of one source.
pub(super) struct Cursor<'a> {
    pub(super) source: u32,
    pub(super) dirent: u32,
    end: u32,
    /// The prefix of the name at `dirent` as a number, and the name. Most comparisons need only the number.
    key: (u32, &'a [u8]),
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the first dirent of a directory, or returns `None` if it has no dirents.
    pub(super) fn new(sources: &[Source<'a>], source: u32, directory: u32) -> Option<Self> {
        let (dirent, end) = sources[source as usize].children(directory);
        (dirent < end).then(|| Self { source, dirent, end, key: key(&sources[source as usize], dirent) })
    }

    /// Moves to the next dirent, and returns whether there is one.
    pub(super) fn advance(&mut self, sources: &[Source<'a>]) -> bool {
        self.dirent += 1;
        let more = self.dirent < self.end;
        if more {
            self.key = key(&sources[self.source as usize], self.dirent);
        }
        more
    }

    pub(super) fn is_at(&self, name: &[u8]) -> bool {
        self.key.1 == name
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

fn key<'a>(source: &Source<'a>, dirent: u32) -> (u32, &'a [u8]) {
    (u32::from_be_bytes(source.dirent(dirent).prefix), source.name(dirent))
}
