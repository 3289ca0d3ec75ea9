//! Places everything in an image.
//!
//! An image begins with the superblock and the device table. Inodes follow, each with its xattrs and, depending on its
//! [`Layout`], with data after it; shared xattrs lie between them. Then come the blocks of large directories and
//! symlinks, and finally the contents of files.
//!
//! Compressed contents come before the inodes instead, because the size of an inode depends on how its file was
//! compressed.
//!
//! Inodes are packed in the order of their numbers, which is breadth first. So the inodes of a directory's entries lie
//! side by side.

use std::cmp::Reverse;
use std::ops::Range;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind, Stat, Timestamp};

use super::compress::{StoredFiles, index_size};
use super::directory::DirectorySize;
use super::format::{
    BLOCK, CompactInode, DeviceSlot, ExtendedInode, SLOT, SUPERBLOCK_OFFSET, Superblock, check_blocks,
};
use super::packer::Packer;
use super::xattrs::XattrTable;
use crate::Result;

/// Number of inodes that are packed together. A larger number packs better but moves inodes farther from the order of a
/// walk. The images of this number are 0.1 % larger than the smallest.
const PACK_GROUP: usize = 1024;

/// The layout of an inode's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// No data: devices, empty files.
    Bare,
    /// Whole blocks.
    Plain {
        /// The first block.
        block: u32,
    },
    /// Whole blocks for the part that fills them. The rest follows the inode and its xattrs, all in one block.
    Inline {
        /// The first block.
        block: u32,
    },
    /// Compressed blocks. The indexes after the inode and its xattrs locate them.
    Compressed {
        /// The number of blocks.
        blocks: u32,
    },
}

/// The placement of file contents.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FilePlacement<'a> {
    /// Whole blocks; the part that does not fill a block follows the inode.
    Packed,
    /// Whole blocks only, as in contents files.
    Whole,
    /// Already stored in front of the metadata. Uncompressed files are packed.
    Stored(&'a StoredFiles),
}

/// An inode with its place in the image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlacedInode {
    /// Offset from the start of the metadata, in bytes.
    pub(crate) offset: u64,
    /// Size of the data in bytes.
    pub(crate) size: u64,
    /// The layout of the data.
    pub(crate) layout: Layout,
    /// The parent of a directory; the root is its own parent.
    pub(crate) parent: InodeId,
    /// Whether the inode has the long form (64 bytes instead of 32).
    pub(crate) extended: bool,
}

/// The places of everything but the contents of files.
pub(crate) struct Plan<'a> {
    pub(crate) fs: &'a ContainerFs,
    pub(crate) files: FilePlacement<'a>,
    /// The modification time that all inodes of the short form have.
    pub(crate) epoch: Timestamp,
    pub(crate) xattrs: XattrTable<'a>,
    /// Indexed by inode number.
    pub(crate) inodes: Vec<PlacedInode>,
    /// The runs of blocks that one item spans, in ascending order; block 0 is the metadata's first.
    spans: Vec<Range<u64>>,
    /// The first block of the metadata: 0, or the first after the compressed files.
    pub(crate) start: u64,
    /// The first block after the inodes and shared xattrs, where the blocks of large directories and symlinks begin.
    pub(crate) directory_block: u64,
    /// The first block after all metadata.
    pub(crate) end: u64,
}

impl PlacedInode {
    /// Returns the inode's number in the image.
    pub(crate) fn nid(&self) -> u64 {
        self.offset / SLOT
    }

    /// Returns the bytes of data after the inode.
    pub(crate) fn tail(&self) -> u64 {
        if matches!(self.layout, Layout::Inline { .. }) { self.size % BLOCK } else { 0 }
    }

    /// Returns the number of data blocks.
    pub(crate) fn blocks(&self) -> u64 {
        match self.layout {
            Layout::Bare => 0,
            Layout::Plain { .. } => self.size.div_ceil(BLOCK),
            Layout::Inline { .. } => self.size / BLOCK,
            Layout::Compressed { blocks } => blocks.into(),
        }
    }
}

impl<'a> Plan<'a> {
    /// Places everything but the contents of files, which get sizes and no addresses yet.
    pub(crate) fn of(fs: &'a ContainerFs, files: FilePlacement<'a>, devices: usize) -> Result<Self> {
        let xattrs = XattrTable::of(fs);
        let epoch = most_frequent_time(fs);
        let mut packer = Packer::new();
        let start = match files {
            FilePlacement::Stored(stored) => {
                // Without this byte the root would have the number 0, and readers of directories skip entries with that
                // number.
                packer.place(1);
                stored.end.into()
            }
            _ => {
                let head = SUPERBLOCK_OFFSET + size_of::<Superblock>() + devices * size_of::<DeviceSlot>();
                packer.place(head as u64);
                0
            }
        };
        let (inodes, spans) = (Vec::new(), Vec::new());
        let mut plan = Self { fs, files, epoch, xattrs, inodes, spans, start, directory_block: 0, end: 0 };
        plan.inodes.reserve_exact(fs.inode_count() as usize);
        let mut room = Vec::with_capacity(plan.inodes.capacity());
        for ino in fs.inodes() {
            let (placed, size) = plan.measure(ino)?;
            plan.inodes.push(placed);
            room.push(size);
        }
        plan.pack(&room, &mut packer);
        plan.set_parents();
        plan.directory_block = start + packer.blocks();
        plan.spans = packer.into_spans();
        plan.end = plan.directory_block;
        plan.assign_directory_addresses()?;
        let has_data = matches!(files, FilePlacement::Packed) && plan.inodes.iter().any(|placed| placed.blocks() > 0);
        if plan.end == plan.directory_block && !has_data {
            // fsck.erofs 1.5 looks for xattrs up to a thousand bytes after inodes that have none. It reports the image
            // as corrupted when the image ends before that.
            plan.end += 1;
        }
        Ok(plan)
    }

    /// Returns whether one item lies both in this block and in the one before.
    pub(crate) fn is_spanned(&self, block: u64) -> bool {
        let before = self.spans[..self.spans.partition_point(|span| span.start < block)].last();
        before.is_some_and(|span| span.end > block)
    }

    /// Returns the inodes whose data has blocks of its own in the metadata, in the order of these blocks.
    pub(crate) fn inodes_with_blocks(&self) -> impl Iterator<Item = InodeId> {
        self.fs.inodes().filter(|ino| {
            let placed = &self.inodes[ino.0 as usize];
            placed.blocks() > 0 && self.fs.stat(*ino).kind != InodeKind::Regular
        })
    }

    /// Returns an inode without its place, and its size in the image in bytes.
    fn measure(&self, ino: InodeId) -> Result<(PlacedInode, u64)> {
        let stat = self.fs.stat(ino);
        let size = match stat.kind {
            InodeKind::Directory => DirectorySize::of(self.fs, ino).bytes(),
            _ => stat.size,
        };
        let extended = needs_long_form(&stat, size) || stat.mtime != self.epoch;
        let body = self.xattrs.body(self.fs, ino, |_, _| {});
        let core = if extended { size_of::<ExtendedInode>() } else { size_of::<CompactInode>() };
        let head = (core + body.size()) as u64;
        let mut layout = layout(&stat, size, head, self.files);
        let mut indexes = 0;
        if let FilePlacement::Stored(stored) = self.files
            && let Some(file) = stored.get(ino)
        {
            layout.set_block(file.block.into())?;
            if file.is_compressed() {
                layout = Layout::Compressed { blocks: file.blocks };
                indexes = index_size(head, size);
            }
        }
        let placed = PlacedInode { offset: 0, size, layout, parent: InodeId::ROOT, extended };
        Ok((placed, head + indexes + placed.tail()))
    }

    /// Places the inodes and the shared xattrs. The root is first because its number has 16 bits; then the xattrs; then
    /// groups of neighbours. The large inodes of a group come before the small ones, which fill the gaps.
    fn pack(&mut self, room: &[u64], packer: &mut Packer) {
        let mut order: Vec<usize> = (0..room.len()).collect();
        let (root, others) = order.split_at_mut(1);
        self.inodes[root[0]].offset = packer.place(room[root[0]]);
        self.xattrs.place(packer);
        for neighbours in others.chunks_mut(PACK_GROUP) {
            neighbours.sort_by_key(|number| Reverse(room[*number].div_ceil(SLOT)));
            for number in neighbours {
                self.inodes[*number].offset = packer.place(room[*number]);
            }
        }
    }

    fn set_parents(&mut self) {
        for directory in self.fs.inodes() {
            for entry in self.fs.readdir(directory, 0).into_iter().flatten() {
                // Only the parents of directories are used.
                self.inodes[entry.ino.0 as usize].parent = directory;
            }
        }
    }

    fn assign_directory_addresses(&mut self) -> Result<()> {
        for ino in self.inodes_with_blocks().collect::<Vec<_>>() {
            let placed = &mut self.inodes[ino.0 as usize];
            placed.layout.set_block(self.end)?;
            self.end += placed.blocks();
        }
        Ok(())
    }
}

impl Layout {
    /// Sets the first block; does nothing for layouts that have none.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the block number needs more than 32 bits.
    pub(crate) fn set_block(&mut self, first: u64) -> Result<()> {
        let first = check_blocks(first)?;
        match self {
            Self::Bare | Self::Compressed { .. } => {}
            Self::Plain { block } | Self::Inline { block } => *block = first,
        }
        Ok(())
    }
}

fn layout(stat: &Stat, size: u64, head: u64, files: FilePlacement<'_>) -> Layout {
    let tail = size % BLOCK;
    let inline = match stat.kind {
        InodeKind::Regular if size > 0 => !matches!(files, FilePlacement::Whole),
        InodeKind::Directory | InodeKind::Symlink => true,
        _ => return Layout::Bare,
    };
    // A head of several blocks would have to end in the block of the tail. That is rare, so such a tail gets its own
    // block.
    if inline && tail > 0 && head + tail <= BLOCK { Layout::Inline { block: 0 } } else { Layout::Plain { block: 0 } }
}

/// Returns whether the short form would lose anything besides the modification time.
fn needs_long_form(stat: &Stat, size: u64) -> bool {
    let short = u32::from(u16::MAX);
    stat.uid > short || stat.gid > short || stat.nlink > short || size > u64::from(u32::MAX)
}

/// Returns the modification time that gives the most inodes the short form; the earliest of equally frequent ones.
fn most_frequent_time(fs: &ContainerFs) -> Timestamp {
    let stats = fs.inodes().map(|ino| fs.stat(ino)).filter(|stat| !needs_long_form(stat, stat.size));
    let mut times: Vec<_> = stats.map(|stat| stat.mtime).collect();
    times.sort_unstable();
    let runs = times.chunk_by(|one, other| one == other);
    let best = runs.min_by_key(|run| Reverse(run.len()));
    best.map_or_else(Timestamp::default, |run| run[0])
}
