//! Writing a replay to the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;

use zerocopy::{FromBytes, IntoBytes};

use super::Journal;
use super::fast_commit::has_fast_commits;
use super::overlay::Replayed;
use super::superblock::{CHECKSUM, LENGTH, SEQUENCE, START};
use crate::checksum::crc32c;
use crate::format::SuperblockRecord;
use crate::read::{Ext4Reader, ReadAt, ReadError, ReadOptions, ReadResult, SUPERBLOCK_OFFSET, incompatible, read_only};

/// The result of [`replay`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replay {
    /// Number of blocks that were written to their places.
    pub blocks: usize,
    /// The file system was not unmounted, so its journal was replayed.
    pub was_dirty: bool,
}

/// Replays the journal of the file system in `file`, and marks the journal as empty. Does nothing if the file system
/// was unmounted.
///
/// The superblock and all group descriptors may change, so a caller reads them afterwards. An interrupted replay can be
/// repeated, because the journal is emptied last. Inodes without names that were open at the crash stay allocated until
/// the next mount; `e2fsck -fn` mentions them.
///
/// # Errors
/// - The errors of [`open_replayed`](crate::open_replayed).
/// - [`ReadError::Unsupported`]: the journal has fast commits, which only a kernel can write to their places.
/// - [`ReadError::Write`]: the file cannot be written.
pub fn replay(file: &File) -> ReadResult<Replay> {
    let options = ReadOptions::default();
    let reader = Ext4Reader::open_dirty(file, &options)?;
    if !reader.volume().needs_replay() {
        return Ok(Replay::default());
    }
    let block_size = reader.volume().block_size;
    let journal = Journal::open(&reader)?;
    let log = journal.read_log()?;
    if let Some(end) = log.end
        && has_fast_commits(&reader, &journal.pieces, end)?
    {
        let why = "the journal has fast commits: mount the file system once, or let e2fsck replay it";
        return Err(ReadError::Unsupported(why.to_owned()));
    }
    let after = log.end.unwrap_or(journal.pieces.superblock.sequence).wrapping_add(1);
    let superblock = journal.pieces.place(0)? * block_size as u64;
    let count = log.blocks.len();
    let numbers: Vec<u64> = log.blocks.iter().map(|copy| copy.block).collect();
    let replayed = Replayed::new(file, block_size, log.blocks);
    let mut block = vec![0; block_size];
    for number in numbers {
        let offset = number * block_size as u64;
        replayed.read_exact_at(&mut block, offset).map_err(|source| ReadError::Io { offset, source })?;
        write(file, offset, &block)?;
    }
    sync(file)?;
    empty_journal(file, superblock, after)?;
    sync(file)?;
    finish_superblock(file, &options)?;
    sync(file)?;
    Ok(Replay { blocks: count, was_dirty: true })
}

/// Marks the log as empty. The next transaction has the number `sequence`, so none in the log is taken for it.
fn empty_journal(file: &File, offset: u64, sequence: u32) -> ReadResult<()> {
    let mut block = [0; LENGTH];
    read(file, offset, &mut block)?;
    block[START..START + 4].fill(0);
    block[SEQUENCE..SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
    if block[CHECKSUM..CHECKSUM + 4] != [0; 4] {
        block[CHECKSUM..CHECKSUM + 4].fill(0);
        let checksum = crc32c(!0, &block);
        block[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_be_bytes());
    }
    write(file, offset, &block)
}

/// Removes the mark of a file system that was not unmounted, and writes the numbers that a kernel keeps in memory.
fn finish_superblock(file: &File, options: &ReadOptions) -> ReadResult<()> {
    let reader = Ext4Reader::open_dirty(file, options)?;
    let (blocks, inodes) = reader.count_free()?;
    let has_orphans = has_orphans(&reader)?;
    let mut bytes = [0; size_of::<SuperblockRecord>()];
    read(file, SUPERBLOCK_OFFSET, &mut bytes)?;
    let record = SuperblockRecord::mut_from_bytes(&mut bytes).expect("the buffer has the size of a superblock");
    record.incompatible.set(record.incompatible.get() & !incompatible::RECOVER);
    record.free_blocks_count_lo.set(blocks as u32);
    if record.incompatible.get() & incompatible::BITS_64 != 0 {
        record.free_blocks_count_hi.set((blocks >> 32) as u32);
    }
    record.free_inodes_count.set(inodes);
    if !has_orphans {
        record.compatible_read_only.set(record.compatible_read_only.get() & !read_only::ORPHAN_PRESENT);
    }
    if record.compatible_read_only.get() & read_only::METADATA_CSUM != 0 {
        let length = size_of::<SuperblockRecord>() - 4;
        record.checksum.set(crc32c(!0, &record.as_bytes()[..length]));
    }
    write(file, SUPERBLOCK_OFFSET, &bytes)
}

/// Returns whether the orphan file lists inodes (kernel documentation, "Orphan file").
fn has_orphans<R: ReadAt>(reader: &Ext4Reader<R>) -> ReadResult<bool> {
    /// Bytes of the magic number and the checksum at the end of a block.
    const TAIL: usize = 8;
    let volume = reader.volume();
    if volume.read_only & read_only::ORPHAN_PRESENT == 0 {
        return Ok(false);
    }
    let inode = reader.inode(volume.orphan_inode)?;
    let mut file = reader.open_file(&inode)?;
    let mut block = vec![0; volume.block_size];
    let (mut position, end) = (0, inode.size() / block.len() as u64 * block.len() as u64);
    while let Some(data) = file.next_data(position..end)? {
        for offset in (data.start..data.end).step_by(block.len()) {
            file.read_exact_at(&mut block, offset)?;
            if block[..block.len() - TAIL].iter().any(|&byte| byte != 0) {
                return Ok(true);
            }
        }
        position = data.end;
    }
    Ok(false)
}

fn read(file: &File, offset: u64, buffer: &mut [u8]) -> ReadResult<()> {
    ReadAt::read_exact_at(file, buffer, offset).map_err(|source| ReadError::Io { offset, source })
}

fn write(file: &File, offset: u64, bytes: &[u8]) -> ReadResult<()> {
    file.write_all_at(bytes, offset).map_err(|source| ReadError::Write { offset, source })
}

fn sync(file: &File) -> ReadResult<()> {
    file.sync_data().map_err(|source| ReadError::Write { offset: 0, source })
}
