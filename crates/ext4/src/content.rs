//! What of a root needs blocks, wherever they will be.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter;
use std::ops::Range;

use vmroot_container_fs::{ContainerFs, Extent, InodeId, InodeKind, Stat};
use vmroot_output::OmissionsByInode;
use vmroot_output::{LastHoles, OmissionReason, Omitted};

use super::directory::Directory;
use super::extents::MAX_FILE_BLOCKS;
use super::format::{BLOCK, FIRST_INODE, MAX_LINKS};
use super::hash::NameHasher;
use super::holes::data_runs;
use super::htree::MAX_LEAVES;
use super::time::InodeTime;
use super::xattr::{MAX_SHARERS, Room, XattrSet};
use crate::{Error, Result};

/// Targets of symbolic links shorter than this stand in the inode.
pub(super) const SHORT_LINK: u64 = 60;

/// What needs blocks.
pub(super) struct Content<'a> {
    pub(super) fs: &'a ContainerFs,
    pub(super) hasher: NameHasher,
    /// Directories and long symbolic links, with how many blocks they have.
    pub(super) small: Vec<(InodeId, u64)>,
    /// Files with contents, in the order in which these lie.
    pub(super) files: Vec<(InodeId, Extent)>,
    /// The blocks of data of files with holes.
    sparse: HashMap<InodeId, Vec<Range<u64>>>,
    /// Which of `xattr_blocks` an inode has.
    xattr_block_of: HashMap<InodeId, u32>,
    pub(super) xattr_blocks: Vec<XattrBlock>,
    /// Bytes of the xattrs that are in inodes of their own, in the order of the blocks that name them.
    pub(super) values: Vec<u64>,
    pub(super) lacks: OmissionsByInode<InodeId>,
}

/// Sets of xattrs, and the block that has each.
type Shared<'a> = HashMap<Vec<(&'a [u8], &'a [u8])>, u32>;

/// A block of xattrs.
pub(super) struct XattrBlock {
    /// One of the inodes that have these xattrs.
    pub(super) owner: InodeId,
    /// How many have them.
    pub(super) sharers: u32,
    /// The first of its values that is apart, and how many are.
    pub(super) first_value: usize,
    pub(super) values: usize,
}

impl<'a> Content<'a> {
    /// Looks at all inodes, and refuses what ext4 cannot hold.
    pub(super) fn of(fs: &'a ContainerFs, hasher: NameHasher) -> Result<Self> {
        let mut content = Self {
            fs,
            hasher,
            small: Vec::new(),
            files: fs.files_in_order(),
            sparse: HashMap::new(),
            xattr_block_of: HashMap::new(),
            xattr_blocks: Vec::new(),
            values: Vec::new(),
            lacks: OmissionsByInode::default(),
        };
        let mut shared = HashMap::new();
        for ino in fs.inodes() {
            content.inode(ino)?;
            if fs.has_xattrs(ino) {
                content.xattrs(ino, &mut shared);
            }
        }
        content.find_holes()?;
        Ok(content)
    }

    fn inode(&mut self, ino: InodeId) -> Result<()> {
        let stat = self.fs.stat(ino);
        if stat.kind != InodeKind::Directory && stat.nlink > MAX_LINKS {
            return Err(Error::unrepresentable(
                self.fs,
                ino,
                format!("{} names of one file, only {MAX_LINKS}", stat.nlink),
            ));
        }
        if !InodeTime::holds(stat.mtime) {
            self.lacks.add(ino, Omitted::Time, OmissionReason::form("ext4 has times from 1901 to 2446"));
        }
        match stat.kind {
            InodeKind::Directory => {
                let directory = Directory::new(self.fs, ino, &self.hasher).map_err(|_| {
                    Error::unrepresentable(
                        self.fs,
                        ino,
                        format!("so many entries of a directory, only {MAX_LEAVES} blocks of them"),
                    )
                })?;
                self.small.push((ino, directory.blocks()));
            }
            InodeKind::Symlink if stat.size >= SHORT_LINK => self.small.push((ino, 1)),
            InodeKind::Regular => self.check_size(ino, &stat)?,
            _ => {}
        }
        Ok(())
    }

    fn check_size(&self, ino: InodeId, stat: &Stat) -> Result<()> {
        if stat.size > MAX_FILE_BLOCKS * BLOCK as u64 {
            let limit = MAX_FILE_BLOCKS * BLOCK as u64;
            return Err(Error::unrepresentable(self.fs, ino, format!("{} bytes of a file, only {limit}", stat.size)));
        }
        Ok(())
    }

    fn xattrs(&mut self, ino: InodeId, shared: &mut Shared<'a>) {
        let lacks = &mut self.lacks;
        let left_out = |name: &[u8], why| lacks.add(ino, Omitted::Xattr(name.into()), why);
        let set = XattrSet::new(self.fs.xattrs(ino), left_out);
        let Room::Block { apart } = set.room() else { return };
        let next = self.xattr_blocks.len() as u32;
        let number = shared.entry(self.fs.xattrs(ino).collect()).or_insert(next);
        if self.xattr_blocks.get(*number as usize).is_some_and(|block| block.sharers == MAX_SHARERS) {
            *number = next;
        }
        if *number == next {
            let first_value = self.values.len();
            self.values.extend(set.apart().map(|value| value.len() as u64));
            self.xattr_blocks.push(XattrBlock { owner: ino, sharers: 0, first_value, values: apart });
        }
        self.xattr_blocks[*number as usize].sharers += 1;
        self.xattr_block_of.insert(ino, *number);
    }

    fn find_holes(&mut self) -> Result<()> {
        let mut holes = LastHoles::default();
        for &(ino, extent) in &self.files {
            let runs = data_runs(holes.of(extent.file, &self.fs.contents_file(extent.file).file), extent);
            if let Some(runs) = runs.map_err(|source| Error::unreadable(self.fs, extent.file, source))? {
                self.sparse.insert(ino, runs);
            }
        }
        Ok(())
    }

    /// The blocks of a file that hold data.
    pub(super) fn data_runs(&self, ino: InodeId, extent: Extent) -> Cow<'_, [Range<u64>]> {
        match self.sparse.get(&ino) {
            Some(runs) => Cow::Borrowed(runs),
            None => Cow::Owned(iter::once(0..extent.length.div_ceil(BLOCK as u64)).collect()),
        }
    }

    /// Which of the blocks of xattrs an inode has.
    pub(super) fn xattr_block_of(&self, ino: InodeId) -> Option<usize> {
        self.xattr_block_of.get(&ino).map(|number| *number as usize)
    }

    /// The number of the inode that holds a value of an xattr.
    pub(super) fn value_inode(&self, value: usize) -> u32 {
        FIRST_INODE - 1 + self.fs.inode_count() + value as u32
    }

    /// The number of the last inode that is used; all below it are too, or reserved.
    pub(super) fn last_inode(&self) -> u64 {
        u64::from(FIRST_INODE) - 2 + u64::from(self.fs.inode_count()) + self.values.len() as u64
    }

    /// Fewer blocks than all of it will take: the blocks of extent trees are not known.
    pub(super) fn least_blocks(&self) -> u64 {
        let small: u64 = self.small.iter().map(|(_, blocks)| blocks).sum();
        let runs = self.files.iter().flat_map(|&(ino, extent)| self.data_runs(ino, extent).into_owned());
        let values: u64 = self.values.iter().map(|length| length.div_ceil(BLOCK as u64)).sum();
        small + runs.map(|run| run.end - run.start).sum::<u64>() + self.xattr_blocks.len() as u64 + values
    }
}

/// More than 2^32 inodes are too many.
pub(super) fn too_large(what: impl Into<String>) -> Error {
    Error::TooLarge { what: what.into() }
}
