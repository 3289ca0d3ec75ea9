//! The bytes of the metadata, a run of blocks at a time.

use std::ops::Range;

use vmroot_container_fs::{InodeId, InodeKind};

use super::directory::DirectoryBlocks;
use super::format::BLOCK;
use super::inode;
use super::plan::{Layout, Placed, Plan, inodes};
use crate::Result;

/// The most blocks of a run, but for an inode that takes more.
const RUN: u64 = 256;

/// The inodes in the order of their places, in runs of whole blocks.
pub(crate) struct InodeRuns {
    order: Vec<InodeId>,
    runs: Vec<Range<usize>>,
}

/// Blocks that are to be written at an offset in bytes.
pub(crate) struct Blocks {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl InodeRuns {
    pub(crate) fn of(plan: &Plan<'_>) -> Self {
        let mut order: Vec<_> = inodes(plan.fs).collect();
        let block = |ino: InodeId| plan.inodes[ino.0 as usize].offset / BLOCK;
        order.sort_unstable_by_key(|ino| plan.inodes[ino.0 as usize].offset);
        let mut runs = Vec::new();
        let mut start = 0;
        for at in 1..=order.len() {
            let is_full = at == order.len() || block(order[at]) >= block(order[start]) + RUN;
            if is_full && (at == order.len() || block(order[at]) != block(order[at - 1])) {
                runs.push(start..at);
                start = at;
            }
        }
        Self { order, runs }
    }

    pub(crate) fn count(&self) -> usize {
        self.runs.len()
    }

    /// The blocks of a run. The runs' blocks are all that inodes are in.
    pub(crate) fn blocks(&self, plan: &Plan<'_>, run: usize) -> Blocks {
        let first = |run: usize| match self.runs.get(run) {
            Some(range) => plan.inodes[self.order[range.start].0 as usize].offset / BLOCK,
            None => plan.xattr_block,
        };
        // What precedes the first inode are the superblock and the devices.
        let start = if run == 0 { 0 } else { first(run) };
        Blocks { offset: start * BLOCK, length: (first(run + 1) - start) * BLOCK }
    }

    /// Writes the inodes of a run, with their xattrs and tails, where they belong in `bytes`, which are zeros.
    pub(crate) fn write(&self, plan: &Plan<'_>, run: usize, bytes: &mut [u8]) -> Result<()> {
        let start = self.blocks(plan, run).offset;
        let mut item = Vec::new();
        for ino in &self.order[self.runs[run].clone()] {
            item.clear();
            write_inode(plan, *ino, &mut item)?;
            let at = (plan.inodes[ino.0 as usize].offset - start) as usize;
            bytes[at..at + item.len()].copy_from_slice(&item);
        }
        Ok(())
    }
}

fn write_inode(plan: &Plan<'_>, ino: InodeId, item: &mut Vec<u8>) -> Result<()> {
    let (fs, placed) = (plan.fs, &plan.inodes[ino.0 as usize]);
    let stat = fs.stat(ino);
    let body = plan.xattrs.body(fs, ino).expect("the plan had it");
    inode::write(ino, &stat, placed, body.count(), item);
    body.write(item);
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

/// What follows the inodes: shared xattrs, and the blocks of large directories and links.
pub(crate) struct Rest<'p> {
    plan: &'p Plan<'p>,
    pieces: Box<dyn Iterator<Item = Vec<u8>> + 'p>,
}

impl<'p> Rest<'p> {
    pub(crate) fn of(plan: &'p Plan<'p>) -> Self {
        let xattrs = padded(plan.xattrs.entries());
        let blocks = plan.with_blocks().flat_map(|ino| own_blocks(plan, ino));
        Self { plan, pieces: Box::new(xattrs.chain(blocks)) }
    }

    /// Writes all of it, some blocks at a time.
    pub(crate) fn write(self, mut write: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        let mut offset = self.plan.xattr_block * BLOCK;
        let mut bytes = Vec::with_capacity((RUN * BLOCK) as usize);
        for piece in self.pieces {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 >= (RUN - 1) * BLOCK {
                let whole = bytes.len() - bytes.len() % BLOCK as usize;
                write(&bytes[..whole], offset)?;
                bytes.drain(..whole);
                offset += whole as u64;
            }
        }
        write(&bytes, offset)
    }
}

/// The pieces, and zeros up to the end of their last block.
fn padded<'p>(pieces: impl Iterator<Item = Vec<u8>> + 'p) -> impl Iterator<Item = Vec<u8>> + 'p {
    let mut length = 0_usize;
    let mut pieces = pieces.fuse();
    std::iter::from_fn(move || {
        let piece = pieces.next().unwrap_or_else(|| vec![0; length.next_multiple_of(BLOCK as usize) - length]);
        length += piece.len();
        (!piece.is_empty()).then_some(piece)
    })
}

/// The blocks of a directory or a link that are not behind its inode.
fn own_blocks<'p>(plan: &'p Plan<'p>, ino: InodeId) -> Box<dyn Iterator<Item = Vec<u8>> + 'p> {
    let placed: &Placed = &plan.inodes[ino.0 as usize];
    if plan.fs.stat(ino).kind == InodeKind::Symlink {
        let target = plan.fs.readlink(ino).unwrap_or_default().to_vec();
        return Box::new(padded(std::iter::once(target)));
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
