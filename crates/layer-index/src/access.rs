//! Reading an index that [`Index::open`](crate::Index::open) has accepted: no access here can fail or go out of bounds.

use std::cmp::Ordering;
use std::ops::Range;

use vmroot_model::Digest;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::format::{DirentRecord, InodeRecord, KIND_ROOT, MINOR, Section, XattrSetRecord, mode};
use crate::inode::{DirentKind, Inode};
use crate::open::{ContentsFile, Index, InodeId};

/// One entry of a directory.
#[derive(Debug, Clone, Copy)]
pub struct Dirent<'a> {
    /// The name's bytes, 1 to 255 of them, with neither `/` nor NUL.
    pub name: &'a [u8],
    /// What it is.
    pub kind: DirentKind,
    /// What it names.
    pub target: Target,
}

/// What a directory entry names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This inode.
    Inode(InodeId),
    /// Nothing, and nothing of lower layers either.
    Whiteout,
}

/// The first four bytes of a name, zero padded: names compare as these do, unless these are equal.
pub(crate) fn prefix(name: &[u8]) -> [u8; 4] {
    let mut prefix = [0; 4];
    let length = name.len().min(4);
    prefix[..length].copy_from_slice(&name[..length]);
    prefix
}

impl Index {
    pub(crate) fn section(&self, section: Section) -> &[u8] {
        &self.bytes()[self.ranges[section as usize].clone()]
    }

    pub(crate) fn records<R>(&self, section: Section) -> &[R]
    where
        R: FromBytes + Immutable + KnownLayout + Unaligned,
    {
        <[R]>::ref_from_bytes(self.section(section)).expect("open() checked that sections are whole records")
    }

    /// The layer's diff id, or the root's chain id.
    pub fn identity(&self) -> &Digest {
        &self.identity
    }

    /// Whether this version of vmroot would make the same index of the same layers. One of an older minor version reads
    /// as well, but may say something else.
    pub fn is_current(&self) -> bool {
        self.minor >= MINOR
    }

    /// Whether this is a merged root, not one layer.
    pub fn is_root(&self) -> bool {
        self.kind == KIND_ROOT
    }

    /// The contents files that extents lie in; a layer has one, a root one for each layer, lowest first.
    pub fn contents(&self) -> &[ContentsFile] {
        &self.contents
    }

    /// The number of inodes; their ids are the numbers below.
    pub fn inode_count(&self) -> u32 {
        self.records::<InodeRecord>(Section::Inodes).len() as u32
    }

    /// The number of directory entries.
    pub fn dirent_count(&self) -> u32 {
        self.records::<DirentRecord>(Section::Dirents).len() as u32
    }

    pub(crate) fn xattr_set_count(&self) -> usize {
        self.records::<XattrSetRecord>(Section::XattrSets).len()
    }

    /// The length of the index in bytes.
    pub fn byte_length(&self) -> u64 {
        self.bytes().len() as u64
    }

    /// The inode with this id.
    ///
    /// # Panics
    /// When the id is not of this index: see [`Self::inode_id`] for numbers from elsewhere.
    pub fn inode(&self, id: InodeId) -> Inode<'_> {
        Inode { index: self, record: &self.records::<InodeRecord>(Section::Inodes)[id.0 as usize] }
    }

    /// The id with this number, if there is such an inode.
    pub fn inode_id(&self, number: u64) -> Option<InodeId> {
        (number < u64::from(self.inode_count())).then_some(InodeId(number as u32))
    }

    fn dirent_range(&self, directory: InodeId) -> (usize, usize) {
        let record = self.inode(directory).record;
        match record.mode.get() & mode::TYPE {
            mode::DIRECTORY => (record.data.get() as usize, record.count.get() as usize),
            _ => (0, 0),
        }
    }

    /// The number of entries of a directory; 0 for other inodes.
    pub fn child_count(&self, directory: InodeId) -> usize {
        self.dirent_range(directory).1
    }

    /// The entries of a directory from position `start` on, sorted by name; none for other inodes.
    pub fn children(&self, directory: InodeId, start: usize) -> impl ExactSizeIterator<Item = Dirent<'_>> {
        let (first, count) = self.dirent_range(directory);
        let start = start.min(count);
        let names = self.section(Section::Names);
        self.records::<DirentRecord>(Section::Dirents)[first + start..first + count]
            .iter()
            .map(move |record| dirent(record, names))
    }

    /// The first path of an inode, without a leading slash; in time linear in the index, for error messages.
    pub(crate) fn path_of(&self, inode: InodeId) -> Vec<u8> {
        let (dirents, names) = (self.records::<DirentRecord>(Section::Dirents), self.section(Section::Names));
        let (mut path, mut at) = (Vec::new(), inode);
        // Ends: a directory has a smaller number than its child.
        while let Some(position) = dirents.iter().position(|dirent| dirent.inode.get() == at.0) {
            path.push(name_of(&dirents[position], names));
            let holds = |&directory: &InodeId| {
                let (first, count) = self.dirent_range(directory);
                (first..first + count).contains(&position)
            };
            at = (0..self.inode_count()).map(InodeId).find(holds).expect("directories divide the dirents among them");
        }
        path.reverse();
        path.join(&b'/')
    }

    /// The entry of a directory with this name, by binary search.
    pub fn child(&self, directory: InodeId, name: &[u8]) -> Option<Dirent<'_>> {
        let (first, count) = self.dirent_range(directory);
        let found = self.search(first..first + count, name)?;
        Some(dirent(&self.records::<DirentRecord>(Section::Dirents)[found], self.section(Section::Names)))
    }

    /// The number of the dirent with this name among the dirents of one directory.
    pub(crate) fn search(&self, run: Range<usize>, name: &[u8]) -> Option<usize> {
        let records = &self.records::<DirentRecord>(Section::Dirents)[run.clone()];
        let names = self.section(Section::Names);
        let key = u32::from_be_bytes(prefix(name));
        let found = records.binary_search_by(|record| match u32::from_be_bytes(record.prefix).cmp(&key) {
            Ordering::Equal => name_of(record, names).cmp(name),
            unequal => unequal,
        });
        found.ok().map(|position| run.start + position)
    }
}

/// The name of a dirent.
pub(crate) fn name_of<'a>(record: &DirentRecord, names: &'a [u8]) -> &'a [u8] {
    let start = record.name_offset.get() as usize;
    &names[start..start + usize::from(record.name_length.get())]
}

fn dirent<'a>(record: &DirentRecord, names: &'a [u8]) -> Dirent<'a> {
    let kind = DirentKind::of_record(record.kind).expect("open() checked the kind of every dirent");
    let target = match kind {
        DirentKind::Inode(_) => Target::Inode(InodeId(record.inode.get())),
        DirentKind::Whiteout => Target::Whiteout,
    };
    Dirent { name: name_of(record, names), kind, target }
}
