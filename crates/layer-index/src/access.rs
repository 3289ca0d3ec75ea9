//! Reading an index. [`Index::open`](crate::Index::open) has checked it, so no access here can fail or go out of
//! bounds.

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
    /// The bytes of the name: 1 to 255, without `/` and NUL.
    pub name: &'a [u8],
    /// The type of the entry.
    pub kind: DirentKind,
    /// The inode with this name, or the whiteout.
    pub target: Target,
}

/// The target of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The inode that has the name.
    Inode(InodeId),
    /// A whiteout: the name is deleted from lower layers.
    Whiteout,
}

/// Returns the first four bytes of a name, zero padded. If two prefixes differ, the names compare as the prefixes do.
pub(crate) fn name_prefix(name: &[u8]) -> [u8; 4] {
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

    /// Returns the diff id of a layer, or the chain id of a root.
    pub fn identity(&self) -> &Digest {
        &self.identity
    }

    /// Returns whether this version of vmroot would build the same index from the same layers.
    ///
    /// An index of an older minor version can be read, but may differ from a new one.
    pub fn is_current(&self) -> bool {
        self.minor >= MINOR
    }

    /// Returns whether this is the index of a merged root, and not of one layer.
    pub fn is_root(&self) -> bool {
        self.kind == KIND_ROOT
    }

    /// Returns the contents files that extents lie in: one for a layer, one for each layer of a root, lowest first.
    pub fn contents(&self) -> &[ContentsFile] {
        &self.contents
    }

    /// Returns the number of inodes. Their ids are the numbers from 0 to one less than it.
    pub fn inode_count(&self) -> u32 {
        self.records::<InodeRecord>(Section::Inodes).len() as u32
    }

    /// Returns the number of directory entries.
    pub fn dirent_count(&self) -> u32 {
        self.records::<DirentRecord>(Section::Dirents).len() as u32
    }

    pub(crate) fn xattr_set_count(&self) -> usize {
        self.records::<XattrSetRecord>(Section::XattrSets).len()
    }

    /// Returns the length of the index in bytes.
    pub fn byte_length(&self) -> u64 {
        self.bytes().len() as u64
    }

    /// Returns the inode with this id.
    ///
    /// # Panics
    /// If the index has no such inode. [`Self::inode_id`] checks a number from another source.
    pub fn inode(&self, id: InodeId) -> Inode<'_> {
        Inode { index: self, record: &self.records::<InodeRecord>(Section::Inodes)[id.0 as usize] }
    }

    /// Returns the id with this number, or `None` if the index has no such inode.
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

    /// Returns the number of entries of a directory, or 0 for other inodes.
    pub fn child_count(&self, directory: InodeId) -> usize {
        self.dirent_range(directory).1
    }

    /// Returns the entries of a directory from position `start` on, sorted by name. Other inodes have no entries.
    pub fn children(&self, directory: InodeId, start: usize) -> impl ExactSizeIterator<Item = Dirent<'_>> {
        let (first, count) = self.dirent_range(directory);
        let start = start.min(count);
        let names = self.section(Section::Names);
        self.records::<DirentRecord>(Section::Dirents)[first + start..first + count]
            .iter()
            .map(move |record| dirent(record, names))
    }

    /// Returns the first path of an inode, without a leading slash.
    ///
    /// This takes time linear in the size of the index for each name of the path. It is for error messages.
    pub(crate) fn path_of(&self, inode: InodeId) -> Vec<u8> {
        let (dirents, names) = (self.records::<DirentRecord>(Section::Dirents), self.section(Section::Names));
        let (mut path, mut current) = (Vec::new(), inode);
        // The loop ends because a directory has a smaller number than its child.
        while let Some(position) = dirents.iter().position(|dirent| dirent.inode.get() == current.0) {
            path.push(name_of(&dirents[position], names));
            let holds = |&directory: &InodeId| {
                let (first, count) = self.dirent_range(directory);
                (first..first + count).contains(&position)
            };
            current = (0..self.inode_count()).map(InodeId).find(holds).expect("every dirent belongs to a directory");
        }
        path.reverse();
        path.join(&b'/')
    }

    /// Finds the entry of a directory with this name, by binary search.
    pub fn child(&self, directory: InodeId, name: &[u8]) -> Option<Dirent<'_>> {
        let (first, count) = self.dirent_range(directory);
        let found = self.find_dirent(first..first + count, name)?;
        Some(dirent(&self.records::<DirentRecord>(Section::Dirents)[found], self.section(Section::Names)))
    }

    /// Finds the dirent with this name in the range of one directory, and returns its number.
    pub(crate) fn find_dirent(&self, run: Range<usize>, name: &[u8]) -> Option<usize> {
        let records = &self.records::<DirentRecord>(Section::Dirents)[run.clone()];
        let names = self.section(Section::Names);
        let key = u32::from_be_bytes(name_prefix(name));
        let found = records.binary_search_by(|record| match u32::from_be_bytes(record.prefix).cmp(&key) {
            Ordering::Equal => name_of(record, names).cmp(name),
            unequal => unequal,
        });
        found.ok().map(|position| run.start + position)
    }
}

/// Returns the name of a dirent.
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
