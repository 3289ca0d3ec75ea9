//! Replays the journal of a file system that was not unmounted (kernel documentation, "Journal (jbd2)").
//!
//! A kernel writes changes of metadata to the journal first, and later to their places. After a crash, the blocks of
//! complete transactions in the journal are newer than their places. [`open_replayed`] reads a disk as if they were in
//! their places, without writing: only the numbers of the blocks are in memory. [`replay`] writes them to their places.
//!
//! Fast commits are newer than the last transaction. [`open_replayed`] applies them in memory.
//!
//! Inodes without names that were open at the crash (the list of orphans and the orphan file) stay allocated: no
//! directory has them, so readers do not see them, and the next mount frees them.

mod big_endian;
mod fast_commit;
mod log;
mod overlay;
mod superblock;
mod write_back;

pub(crate) use fast_commit::FastChanges;
pub use overlay::Replayed;
pub use write_back::{Replay, replay};

use crate::read::{BlockRun, Ext4Reader, Place, ReadAt, ReadError, ReadOptions, ReadResult};
use superblock::JournalSuperblock;

/// The most pieces of a journal on its disk.
const JOURNAL_RUNS_LIMIT: usize = 262_144;

/// Opens a file system as it is after the replay of its journal. Nothing is written.
///
/// # Errors
/// - The errors of [`Ext4Reader::open`], without [`ReadError::NeedsReplay`].
/// - [`ReadError::Damaged`]: the journal is damaged, so that the kernel would not mount the file system either.
/// - [`ReadError::Unsupported`]: the journal or a fast commit has a feature that this reader does not know.
/// - [`ReadError::Limit`]: the journal exceeds a limit.
pub fn open_replayed<R: ReadAt>(disk: R, options: &ReadOptions) -> ReadResult<Ext4Reader<Replayed<R>>> {
    let (blocks, fast) = {
        let before = Ext4Reader::open_dirty(&disk, options)?;
        match before.volume().needs_replay() {
            false => (Vec::new(), None),
            true => {
                let journal = Journal::open(&before)?;
                let log = journal.read_log()?;
                (log.blocks, log.end.map(|end| (journal.pieces(), end)))
            }
        }
    };
    let block_size = Ext4Reader::open_dirty(&disk, options)?.volume().block_size;
    let reader = Ext4Reader::open_dirty(Replayed::new(disk, block_size, blocks), options)?;
    match fast {
        None => Ok(reader),
        Some((pieces, end)) => {
            let fast = FastChanges::read(&reader, &pieces, end)?;
            Ok(reader.with_fast_changes(fast))
        }
    }
}

/// The journal of a file system, before its replay.
struct Journal<'d, R> {
    reader: &'d Ext4Reader<R>,
    pieces: Pieces,
}

/// The places of the journal's blocks, and its superblock.
#[derive(Clone)]
struct Pieces {
    /// In ascending order, without holes between them.
    runs: Vec<BlockRun>,
    superblock: JournalSuperblock,
}

impl<'d, R: ReadAt> Journal<'d, R> {
    fn open(reader: &'d Ext4Reader<R>) -> ReadResult<Self> {
        let inode = reader.inode(reader.volume().journal_inode)?;
        let blocks = inode.size() / reader.volume().block_size as u64;
        let runs = reader.runs(&inode, blocks, JOURNAL_RUNS_LIMIT)?.ok_or_else(|| ReadError::Limit {
            what: format!("the journal has more than {JOURNAL_RUNS_LIMIT} pieces"),
            limit: "JOURNAL_RUNS_LIMIT",
        })?;
        let mut pieces = Pieces { runs, superblock: JournalSuperblock::default() };
        let first = pieces.read(reader, 0)?;
        pieces.superblock = JournalSuperblock::decode(&first, blocks)?;
        Ok(Self { reader, pieces })
    }

    fn pieces(&self) -> Pieces {
        self.pieces.clone()
    }
}

impl Pieces {
    /// Returns the block of the disk with block `number` of the journal.
    fn place(&self, number: u64) -> ReadResult<u64> {
        let next = self.runs.partition_point(|run| run.end() <= number);
        match self.runs.get(next) {
            Some(BlockRun { first, place: Place::Blocks(start), .. }) if *first <= number => {
                Ok(start + (number - first))
            }
            _ => Err(ReadError::damaged(format!("the journal has no block {number}"))),
        }
    }

    /// Reads block `number` of the journal.
    fn read<R: ReadAt>(&self, reader: &Ext4Reader<R>, number: u64) -> ReadResult<Vec<u8>> {
        reader.read_block(self.place(number)?, "the journal")
    }
}
