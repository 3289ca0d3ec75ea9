//! The block map of ext2 and ext3 (kernel documentation, "Direct/Indirect Block Addressing").

use super::super::volume::u32_at;
use super::super::{Ext4Reader, Inode, ReadAt, ReadError, ReadResult};
use super::{BlockRun, Leaf, MAX_BLOCKS, Place};

/// Number of blocks that the inode itself points to.
const DIRECT: u64 = 12;

/// Returns the leaf with `block`: the blocks in the inode, those of one block of pointers, or a hole.
pub(super) fn leaf<R: ReadAt>(reader: &Ext4Reader<R>, inode: &Inode, block: u64) -> ReadResult<Leaf> {
    let in_inode = inode.block();
    if block < DIRECT {
        return decode(reader, 0, &in_inode[..4 * DIRECT as usize]);
    }
    let pointers = reader.volume.block_size as u64 / 4;
    let mut first = DIRECT;
    for level in 1..=3 {
        let count = pointers.pow(level);
        if block - first < count {
            let pointer = u32_at(in_inode, 4 * (DIRECT as usize - 1 + level as usize));
            return descend(reader, pointer, first, (level, count), block);
        }
        first += count;
    }
    match first < MAX_BLOCKS {
        true => Err(ReadError::damaged(format!("inode {} is longer than its blocks can be", inode.number()))),
        false => Ok(Leaf { range: first..MAX_BLOCKS, runs: Vec::new() }),
    }
}

/// Follows the pointer to a tree of `level` levels, whose `count` blocks begin at block `first` of the file.
fn descend<R: ReadAt>(
    reader: &Ext4Reader<R>,
    mut pointer: u32,
    mut first: u64,
    (mut level, mut count): (u32, u64),
    block: u64,
) -> ReadResult<Leaf> {
    let pointers = reader.volume.block_size as u64 / 4;
    loop {
        if pointer == 0 {
            return Ok(Leaf { range: first..first + count, runs: Vec::new() });
        }
        let bytes = reader.read_block(pointer.into(), "a block map")?;
        if level == 1 {
            return decode(reader, first, &bytes);
        }
        level -= 1;
        count /= pointers;
        let position = (block - first) / count;
        first += position * count;
        pointer = u32_at(&bytes, 4 * position as usize);
    }
}

/// Joins pointers to consecutive blocks to runs.
fn decode<R: ReadAt>(reader: &Ext4Reader<R>, first: u64, bytes: &[u8]) -> ReadResult<Leaf> {
    let (pointers, _) = bytes.as_chunks::<4>();
    let mut runs: Vec<BlockRun> = Vec::new();
    for (logical, pointer) in (first..).zip(pointers) {
        let block = u64::from(u32::from_le_bytes(*pointer));
        if block == 0 {
            continue;
        }
        reader.volume.check_blocks(block, 1, "a file")?;
        match runs.last_mut() {
            Some(run) if run.end() == logical && run.place == Place::Blocks(block - run.count) => run.count += 1,
            _ => runs.push(BlockRun { first: logical, count: 1, place: Place::Blocks(block) }),
        }
    }
    Ok(Leaf { range: first..first + pointers.len() as u64, runs })
}
