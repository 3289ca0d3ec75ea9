//! Where everything of an image goes.
//!
//! The image begins with the superblock and the table of devices, then come inodes, each with its xattrs and, as far as
//! its [`Layout`] says, with data behind it, and between them shared xattrs; then the blocks of large directories and
//! links, and at last the contents of files. Where these are compressed, they come before the inodes: how much room
//! inodes take depends on what became of their files. Inodes are packed in the order of their numbers, which is that of
//! a walk in breadth, so who lists a directory finds its inodes side by side.

use std::cmp::Reverse;
use std::ops::Range;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind, Stat, Timestamp};

use super::compress::{StoredFiles, index_size};
use super::directory::DirectorySize;
use super::format::{BLOCK, CompactInode, DeviceSlot, ExtendedInode, SLOT, SUPERBLOCK_OFFSET, Superblock};
use super::packer::Packer;
use super::xattrs::XattrTable;
use super::{FORM, MAX_BLOCKS};
use crate::{Error, Result};

/// Inodes that are packed together. More of them pack better, and stand less in the order of a walk: this is a tenth of
/// a percent above the best.
const NEIGHBOURS: usize = 1024;

/// How the data of an inode lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// There is none: devices, empty files.
    Bare,
    /// In whole blocks.
    Plain {
        /// The first.
        block: u32,
    },
    /// In whole blocks as far as they are full; what is left follows the inode and its xattrs, all in one block.
    Inline {
        /// The first.
        block: u32,
    },
    /// Compressed. The indexes behind the inode and its xattrs say where.
    Compressed {
        /// How many blocks.
        blocks: u32,
    },
}

/// How the contents of files lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Files<'a> {
    /// What does not fill a block follows the inode.
    Packed,
    /// In whole blocks, as in contents files.
    Whole,
    /// As they are stored already, in front of the metadata. What is not compressed is packed.
    Stored(&'a StoredFiles),
}

/// An inode that has its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    /// From the start of the metadata, in bytes.
    pub(crate) offset: u64,
    /// Of its data, in bytes.
    pub(crate) size: u64,
    /// How its data lies.
    pub(crate) layout: Layout,
    /// The directory that a directory is in; the root is in itself.
    pub(crate) parent: InodeId,
    /// Whether it has the long form.
    pub(crate) extended: bool,
}

/// Where everything but the contents of files goes.
pub(crate) struct Plan<'a> {
    pub(crate) fs: &'a ContainerFs,
    pub(crate) files: Files<'a>,
    /// The modification time of all inodes of the short form.
    pub(crate) epoch: Timestamp,
    pub(crate) xattrs: XattrTable<'a>,
    /// By inode number.
    pub(crate) inodes: Vec<Placed>,
    /// Runs of blocks that something spans, in order; the metadata's first is 0.
    spans: Vec<Range<u64>>,
    /// The first block of the metadata: that of the image, or what is behind compressed files.
    pub(crate) start: u64,
    /// The first block behind inodes and shared xattrs, where those of large directories and links are.
    pub(crate) directory_block: u64,
    /// The first block behind all metadata.
    pub(crate) end: u64,
}

impl Placed {
    /// The number that the image has for it.
    pub(crate) fn nid(&self) -> u64 {
        self.offset / SLOT
    }

    /// Bytes of data behind the inode.
    pub(crate) fn tail(&self) -> u64 {
        if matches!(self.layout, Layout::Inline { .. }) { self.size % BLOCK } else { 0 }
    }

    /// Blocks of data.
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
    /// Places everything; contents of files have sizes but no addresses yet.
    pub(crate) fn of(fs: &'a ContainerFs, files: Files<'a>, devices: usize) -> Result<Self> {
        let xattrs = XattrTable::of(fs);
        let epoch = most_frequent_time(fs);
        let mut packer = Packer::new();
        let start = match files {
            Files::Stored(stored) => {
                // Or else the root had the number 0, and readers of directories would take it for no entry.
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
            let (placed, size) = plan.shape(ino)?;
            plan.inodes.push(placed);
            room.push(size);
        }
        plan.pack(&room, &mut packer);
        plan.set_parents();
        plan.directory_block = start + packer.blocks();
        plan.spans = packer.into_spans();
        plan.end = plan.directory_block;
        plan.address_directories()?;
        let has_data = matches!(files, Files::Packed) && plan.inodes.iter().any(|placed| placed.blocks() > 0);
        if plan.end == plan.directory_block && !has_data {
            // fsck.erofs 1.5 looks for xattrs behind inodes that have none, up to a thousand bytes on, and takes it for
            // damage when the image ends there.
            plan.end += 1;
        }
        Ok(plan)
    }

    /// Whether something lies in this block and in the one before.
    pub(crate) fn is_spanned(&self, block: u64) -> bool {
        let before = self.spans[..self.spans.partition_point(|span| span.start < block)].last();
        before.is_some_and(|span| span.end > block)
    }

    /// What has its own blocks in the metadata, in the order of these blocks.
    pub(crate) fn with_blocks(&self) -> impl Iterator<Item = InodeId> {
        self.fs.inodes().filter(|ino| {
            let placed = &self.inodes[ino.0 as usize];
            placed.blocks() > 0 && self.fs.stat(*ino).kind != InodeKind::Regular
        })
    }

    /// An inode without its place, and the bytes that it takes there.
    fn shape(&self, ino: InodeId) -> Result<(Placed, u64)> {
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
        if let Files::Stored(stored) = self.files
            && let Some(file) = stored.get(ino)
        {
            layout.set_block(file.block.into())?;
            if file.is_compressed() {
                layout = Layout::Compressed { blocks: file.blocks };
                indexes = index_size(head, size);
            }
        }
        let placed = Placed { offset: 0, size, layout, parent: InodeId::ROOT, extended };
        Ok((placed, head + indexes + placed.tail()))
    }

    /// Places the inodes and shared xattrs: the root first, for its number has 16 bits, then the xattrs, then some
    /// neighbours at a time, large ones before the small ones that fill what they leave.
    fn pack(&mut self, room: &[u64], packer: &mut Packer) {
        let mut order: Vec<usize> = (0..room.len()).collect();
        let (root, others) = order.split_at_mut(1);
        self.inodes[root[0]].offset = packer.place(room[root[0]]);
        self.xattrs.place(packer);
        for neighbours in others.chunks_mut(NEIGHBOURS) {
            neighbours.sort_by_key(|number| Reverse(room[*number].div_ceil(SLOT)));
            for number in neighbours {
                self.inodes[*number].offset = packer.place(room[*number]);
            }
        }
    }

    fn set_parents(&mut self) {
        for directory in self.fs.inodes() {
            for entry in self.fs.readdir(directory, 0).into_iter().flatten() {
                // Only those of directories are asked for.
                self.inodes[entry.ino.0 as usize].parent = directory;
            }
        }
    }

    fn address_directories(&mut self) -> Result<()> {
        for ino in self.with_blocks().collect::<Vec<_>>() {
            let placed = &mut self.inodes[ino.0 as usize];
            placed.layout.set_block(self.end)?;
            self.end += placed.blocks();
        }
        Ok(())
    }
}

impl Layout {
    /// Sets the first block.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where blocks no longer have numbers.
    pub(crate) fn set_block(&mut self, first: u64) -> Result<()> {
        let first = check_blocks(first)?;
        match self {
            Self::Bare | Self::Compressed { .. } => {}
            Self::Plain { block } | Self::Inline { block } => *block = first,
        }
        Ok(())
    }
}

/// The number of blocks, if that many can have numbers.
pub(crate) fn check_blocks(blocks: u64) -> Result<u32> {
    let too_large = |_| {
        let what = format!("{blocks} blocks of {BLOCK} bytes, it has at most {MAX_BLOCKS} (16 TiB)");
        Error::TooLarge { form: FORM, what }
    };
    u32::try_from(blocks).map_err(too_large)
}

fn layout(stat: &Stat, size: u64, head: u64, files: Files<'_>) -> Layout {
    let tail = size % BLOCK;
    let inline = match stat.kind {
        InodeKind::Regular if size > 0 => !matches!(files, Files::Whole),
        InodeKind::Directory | InodeKind::Symlink => true,
        _ => return Layout::Bare,
    };
    // The end of a head of several blocks would have to be in the tail's block as well: not worth the case.
    if inline && tail > 0 && head + tail <= BLOCK { Layout::Inline { block: 0 } } else { Layout::Plain { block: 0 } }
}

/// Whether the short form would lose something besides the modification time.
fn needs_long_form(stat: &Stat, size: u64) -> bool {
    let short = u32::from(u16::MAX);
    stat.uid > short || stat.gid > short || stat.nlink > short || size > u64::from(u32::MAX)
}

/// The modification time that lets the most inodes have the short form; of equally frequent ones the earliest.
fn most_frequent_time(fs: &ContainerFs) -> Timestamp {
    let stats = fs.inodes().map(|ino| fs.stat(ino)).filter(|stat| !needs_long_form(stat, stat.size));
    let mut times: Vec<_> = stats.map(|stat| stat.mtime).collect();
    times.sort_unstable();
    let runs = times.chunk_by(|one, other| one == other);
    let best = runs.min_by_key(|run| Reverse(run.len()));
    best.map_or_else(Timestamp::default, |run| run[0])
}
