//! Collects the parts of a root that need blocks.

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
use super::xattr::{MAX_SHARERS, XattrPlace, XattrSet};
use crate::{Error, Result};

/// Targets of symlinks that are shorter than this are stored in the inode.
pub(super) const SHORT_LINK: u64 = 60;

/// The parts of a root that need blocks, without their places.
pub(super) struct Content<'a> {
    pub(super) fs: &'a ContainerFs,
    pub(super) hasher: NameHasher,
    /// Directories and long symlinks, with their numbers of blocks.
    pub(super) small: Vec<(InodeId, u64)>,
    /// Files with contents, in the order of the contents files.
    pub(super) files: Vec<(InodeId, Extent)>,
    /// The runs of data blocks of files with holes.
    sparse: HashMap<InodeId, Vec<Range<u64>>>,
    /// The index in `xattr_blocks` for each inode that has one.
    xattr_block_of: HashMap<InodeId, u32>,
    pub(super) xattr_blocks: Vec<XattrBlock>,
    /// Sizes in bytes of the xattr values that have inodes of their own, in the order of the blocks that refer to them.
    pub(super) values: Vec<u64>,
    pub(super) omissions: OmissionsByInode<InodeId>,
}

/// The xattr block of each distinct set of xattrs.
type BlockOfSet<'a> = HashMap<Vec<(&'a [u8], &'a [u8])>, u32>;

/// A block of xattrs, shared by all inodes with the same set.
pub(super) struct XattrBlock {
    /// One of the inodes that have this block.
    pub(super) owner: InodeId,
    /// Number of inodes that have it.
    pub(super) sharers: u32,
    /// Index of its first external value, and the number of them.
    pub(super) first_value: usize,
    pub(super) values: usize,
}

impl<'a> Content<'a> {
    /// Collects the content of all inodes.
    ///
    /// # Errors
    /// - [`Error::Unrepresentable`]: ext4 cannot represent an inode.
    /// - [`Error::Root`]: the contents of a file cannot be read.
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
            omissions: OmissionsByInode::default(),
        };
        let mut shared = HashMap::new();
        for ino in fs.inodes() {
            content.add_inode(ino)?;
            if fs.has_xattrs(ino) {
                content.add_xattrs(ino, &mut shared);
            }
        }
        content.find_holes()?;
        Ok(content)
    }

    fn add_inode(&mut self, ino: InodeId) -> Result<()> {
        let stat = self.fs.stat(ino);
        if stat.kind != InodeKind::Directory && stat.nlink > MAX_LINKS {
            return Err(Error::unrepresentable(
                self.fs,
                ino,
                format!("{} names of one file, the limit is {MAX_LINKS}", stat.nlink),
            ));
        }
        if !InodeTime::can_represent(stat.mtime) {
            self.omissions.add(ino, Omitted::Time, OmissionReason::form("ext4 has times from 1901 to 2446"));
        }
        match stat.kind {
            InodeKind::Directory => {
                let directory = Directory::new(self.fs, ino, &self.hasher).map_err(|_| {
                    Error::unrepresentable(
                        self.fs,
                        ino,
                        format!("so many entries of a directory, the limit is {MAX_LEAVES} blocks"),
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
            return Err(Error::unrepresentable(
                self.fs,
                ino,
                format!("{} bytes of a file, the limit is {limit}", stat.size),
            ));
        }
        Ok(())
    }

    fn add_xattrs(&mut self, ino: InodeId, shared: &mut BlockOfSet<'a>) {
        let omissions = &mut self.omissions;
        let left_out = |name: &[u8], why| omissions.add(ino, Omitted::Xattr(name.into()), why);
        let set = XattrSet::new(self.fs.xattrs(ino), left_out);
        let XattrPlace::Block { external_values } = set.place() else { return };
        let next = self.xattr_blocks.len() as u32;
        let number = shared.entry(self.fs.xattrs(ino).collect()).or_insert(next);
        if self.xattr_blocks.get(*number as usize).is_some_and(|block| block.sharers == MAX_SHARERS) {
            *number = next;
        }
        if *number == next {
            let first_value = self.values.len();
            self.values.extend(set.external_values().map(|value| value.len() as u64));
            self.xattr_blocks.push(XattrBlock { owner: ino, sharers: 0, first_value, values: external_values });
        }
        self.xattr_blocks[*number as usize].sharers += 1;
        self.xattr_block_of.insert(ino, *number);
    }

    fn find_holes(&mut self) -> Result<()> {
        let mut holes = LastHoles::default();
        for &(ino, extent) in &self.files {
            let runs = data_runs(holes.of(extent.file, &self.fs.contents_file(extent.file).file), extent);
            if let Some(runs) = runs.map_err(|source| self.fs.unreadable(extent.file, extent.offset, source))? {
                self.sparse.insert(ino, runs);
            }
        }
        Ok(())
    }

    /// Returns the runs of blocks of a file that hold data.
    pub(super) fn data_runs(&self, ino: InodeId, extent: Extent) -> Cow<'_, [Range<u64>]> {
        match self.sparse.get(&ino) {
            Some(runs) => Cow::Borrowed(runs),
            None => Cow::Owned(iter::once(0..extent.length.div_ceil(BLOCK as u64)).collect()),
        }
    }

    /// Returns the index of the xattr block of an inode.
    pub(super) fn xattr_block_of(&self, ino: InodeId) -> Option<usize> {
        self.xattr_block_of.get(&ino).map(|number| *number as usize)
    }

    /// Returns the number of the inode that holds an external xattr value.
    pub(super) fn value_inode(&self, value: usize) -> u32 {
        FIRST_INODE - 1 + self.fs.inode_count() + value as u32
    }

    /// Returns the number of the last used inode. All below it are used or reserved.
    pub(super) fn last_inode(&self) -> u64 {
        u64::from(FIRST_INODE) - 2 + u64::from(self.fs.inode_count()) + self.values.len() as u64
    }

    /// Returns a lower bound of the number of blocks. The blocks of extent trees are not included.
    pub(super) fn min_blocks(&self) -> u64 {
        let small: u64 = self.small.iter().map(|(_, blocks)| blocks).sum();
        let runs = self.files.iter().flat_map(|&(ino, extent)| self.data_runs(ino, extent).into_owned());
        let values: u64 = self.values.iter().map(|length| length.div_ceil(BLOCK as u64)).sum();
        small + runs.map(|run| run.end - run.start).sum::<u64>() + self.xattr_blocks.len() as u64 + values
    }
}

/// Creates a [`Error::TooLarge`].
pub(super) fn too_large(what: impl Into<String>) -> Error {
    Error::TooLarge { what: what.into() }
}
