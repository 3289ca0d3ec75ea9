//! Serialises the metadata, a run of blocks at a time.

use std::ops::Range;

use vmroot_container_fs::{InodeId, InodeKind};

use super::compress::write_indexes;
use super::directory::DirectoryBlocks;
use super::format::BLOCK;
use super::inode;
use super::plan::{FilePlacement, Layout, PlacedInode, Plan};
use crate::Result;

/// The most blocks of a run. An inode that is larger has a run of its own.
const RUN: u64 = 256;

/// The items of the first blocks, sorted by offset and divided into runs of whole blocks. Offsets are in bytes from the
/// start of the metadata.
pub(crate) struct ItemRuns {
    items: Vec<(u64, Item)>,
    runs: Vec<Range<usize>>,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Inode(InodeId),
    /// A group of shared xattrs.
    Xattrs(u32),
}

/// The place of blocks to write, in bytes.
pub(crate) struct Blocks {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl ItemRuns {
    pub(crate) fn of(plan: &Plan<'_>) -> Self {
        let mut items = Vec::with_capacity(plan.inodes.len() + plan.xattrs.group_offsets().len());
        items.extend(plan.fs.inodes().map(|ino| (plan.inodes[ino.0 as usize].offset, Item::Inode(ino))));
        items.extend(plan.xattrs.group_offsets().zip((0..).map(Item::Xattrs)));
        items.sort_unstable_by_key(|(offset, _)| *offset);
        let block = |at: usize| items[at].0 / BLOCK;
        let mut runs = Vec::new();
        let mut start = 0;
        for at in 1..items.len() {
            if block(at) >= block(start) + RUN && block(at) != block(at - 1) && !plan.is_spanned(block(at)) {
                runs.push(start..at);
                start = at;
            }
        }
        runs.push(start..items.len());
        Self { items, runs }
    }

    pub(crate) fn count(&self) -> usize {
        self.runs.len()
    }

    /// Returns the blocks of a run. All runs together end where the blocks of directories begin.
    pub(crate) fn blocks(&self, plan: &Plan<'_>, run: usize) -> Blocks {
        let first = |run: usize| match self.runs.get(run) {
            Some(range) => plan.start + self.items[range.start].0 / BLOCK,
            None => plan.directory_block,
        };
        // The superblock and the device table precede the first inode.
        let start = if run == 0 { plan.start } else { first(run) };
        Blocks { offset: start * BLOCK, length: (first(run + 1) - start) * BLOCK }
    }

    /// Writes the items of a run to their places in `bytes`, which must be zeros.
    pub(crate) fn write(&self, plan: &Plan<'_>, run: usize, bytes: &mut [u8]) -> Result<()> {
        let start = self.blocks(plan, run).offset - plan.start * BLOCK;
        let mut written = Vec::new();
        for (offset, item) in &self.items[self.runs[run].clone()] {
            written.clear();
            match item {
                Item::Inode(ino) => write_inode(plan, *ino, &mut written)?,
                Item::Xattrs(group) => plan.xattrs.write_group(*group as usize, &mut written),
            }
            let at = (offset - start) as usize;
            bytes[at..at + written.len()].copy_from_slice(&written);
        }
        Ok(())
    }
}

fn write_inode(plan: &Plan<'_>, ino: InodeId, item: &mut Vec<u8>) -> Result<()> {
    let (fs, placed) = (plan.fs, &plan.inodes[ino.0 as usize]);
    let stat = fs.stat(ino);
    let body = plan.xattrs.body(fs, ino, |_, _| {});
    inode::write(ino, &stat, placed, body.count(), item);
    body.write(&plan.xattrs, item);
    if let FilePlacement::Stored(stored) = plan.files
        && let Some(file) = stored.get(ino).filter(|file| file.is_compressed())
    {
        write_indexes(stored.scheme, file.block, &file.extents, item);
    }
    if !matches!(placed.layout, Layout::Inline { .. }) {
        return Ok(());
    }
    let start = item.len();
    match stat.kind {
        InodeKind::Directory => {
            let mut blocks = DirectoryBlocks::new(fs, ino, placed.parent);
            for _ in 0..=placed.blocks() {
                blocks.next_block();
            }
            blocks.write(|ino| plan.inodes[ino.0 as usize].nid(), item);
        }
        InodeKind::Symlink => item.extend_from_slice(fs.readlink(ino)?),
        _ => {
            item.resize(start + placed.tail() as usize, 0);
            fs.read_at(ino, placed.size - placed.tail(), &mut item[start..])?;
        }
    }
    Ok(())
}

/// Writes the rest of the metadata, the blocks of large directories and symlinks, a run at a time.
pub(crate) fn write_directories(plan: &Plan<'_>, mut write: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
    let mut offset = plan.directory_block * BLOCK;
    let mut bytes = Vec::with_capacity((RUN * BLOCK) as usize);
    for block in plan.inodes_with_blocks().flat_map(|ino| data_blocks(plan, ino)) {
        bytes.extend_from_slice(&block);
        if bytes.len() as u64 == RUN * BLOCK {
            write(&bytes, offset)?;
            offset += RUN * BLOCK;
            bytes.clear();
        }
    }
    // The metadata can end in an empty block.
    bytes.resize((plan.end * BLOCK - offset) as usize, 0);
    write(&bytes, offset)
}

/// Returns the data blocks of a directory or a symlink, without the part after its inode.
fn data_blocks<'p>(plan: &'p Plan<'p>, ino: InodeId) -> Box<dyn Iterator<Item = Vec<u8>> + 'p> {
    let placed: &PlacedInode = &plan.inodes[ino.0 as usize];
    if plan.fs.stat(ino).kind == InodeKind::Symlink {
        let mut target = plan.fs.readlink(ino).unwrap_or_default().to_vec();
        // A target is always shorter than a block.
        target.resize(BLOCK as usize, 0);
        return Box::new(std::iter::once(target));
    }
    let mut blocks = DirectoryBlocks::new(plan.fs, ino, placed.parent);
    Box::new((0..placed.blocks()).map(move |_| {
        let mut bytes = Vec::with_capacity(BLOCK as usize);
        blocks.next_block();
        blocks.write(|ino| plan.inodes[ino.0 as usize].nid(), &mut bytes);
        bytes.resize(BLOCK as usize, 0);
        bytes
    }))
}
