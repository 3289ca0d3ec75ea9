//! The log of transactions, read in three passes: the first finds its end, the second collects revocations, and the
//! third collects the newest copy of each block.

use std::collections::HashMap;

use super::Journal;
use super::big_endian::{u16_at, u32_at, u64_at};
use super::superblock::{Checksums, JournalSuperblock, MAGIC};
use crate::read::{ReadAt, ReadError, ReadResult};

/// The most blocks in all transactions of a log, and the most revoked blocks.
const LOG_BLOCKS_LIMIT: usize = 4_194_304;

/// Bytes of the header of a descriptor, commit or revocation block.
const HEADER: usize = 12;
/// Bytes of the header of a revocation block, with its length.
const REVOCATION_HEADER: usize = 16;
/// Bytes of the checksum at the end of a descriptor or revocation block.
const TAIL: usize = 4;
/// Offsets in a commit block: the type, the length and the value of the checksum, and the time in seconds.
const COMMIT_CHECKSUM_TYPE: usize = 12;
const COMMIT_CHECKSUM: usize = 16;
const COMMIT_TIME: usize = 48;

/// Types of blocks.
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOCATION: u32 = 5;

/// Flags of a tag.
const ESCAPED: u16 = 1;
const SAME_UUID: u16 = 2;
const LAST: u16 = 8;

/// A copy of a block in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copy {
    /// The block of the file system.
    pub(super) block: u64,
    /// The block of the disk with its copy.
    pub(super) place: u64,
    /// The first four bytes are not those of the journal, but its magic number.
    pub(super) is_escaped: bool,
}

/// The result of reading a log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The newest copies, by ascending blocks.
    pub(super) blocks: Vec<Copy>,
    /// The number of the transaction after the last complete one. `None` if the log is empty.
    pub(super) end: Option<u32>,
}

/// A description of a block in a descriptor block.
struct Tag {
    block: u64,
    flags: u16,
    checksum: u32,
}

/// A position in the log.
struct Cursor<'j, R> {
    journal: &'j Journal<'j, R>,
    next: u64,
    sequence: u32,
    /// Blocks that were passed. A log is not longer than the journal.
    passed: u64,
}

impl<R: ReadAt> Journal<'_, R> {
    /// Reads the log.
    pub(super) fn read_log(&self) -> ReadResult<Log> {
        let Some(start) = self.pieces.superblock.start else { return Ok(Log::default()) };
        let end = self.find_end(start)?;
        let revoked = self.revocations(start, end)?;
        let blocks = self.copies(start, end, &revoked)?;
        Ok(Log { blocks, end: Some(end) })
    }

    fn cursor(&self, start: u64) -> Cursor<'_, R> {
        Cursor { journal: self, next: start, sequence: self.pieces.superblock.sequence, passed: 0 }
    }

    fn superblock(&self) -> &JournalSuperblock {
        &self.pieces.superblock
    }

    /// Returns the number of the transaction after the last complete one.
    fn find_end(&self, start: u64) -> ReadResult<u32> {
        let superblock = self.superblock();
        let mut cursor = self.cursor(start);
        let (mut end, mut last_time) = (None, 0);
        // A descriptor or revocation block with a wrong checksum is either damaged, or old and not part of the log. The
        // time of the commit block decides.
        let mut is_doubtful = false;
        let mut transaction = Crc32::new();
        while let Some((kind, block)) = cursor.read()? {
            match kind {
                DESCRIPTOR => {
                    is_doubtful |= !self.has_valid_tail(&block);
                    let tags = self.tags(&block).count() as u64;
                    if superblock.checksums == Checksums::V1 && !is_doubtful && end.is_none() {
                        transaction.add(&block);
                        for _ in 0..tags {
                            transaction.add(&self.pieces.read(self.reader, cursor.next)?);
                            cursor.skip(1)?;
                        }
                    } else {
                        cursor.skip(tags)?;
                    }
                }
                REVOCATION => is_doubtful |= !self.has_valid_tail(&block),
                COMMIT => {
                    let time = u64_at(&block, COMMIT_TIME);
                    let is_valid = !is_doubtful && self.has_valid_commit(&block, &transaction);
                    let is_later = superblock.checksums == Checksums::V1 && end.is_some();
                    transaction = Crc32::new();
                    if is_later || !is_valid {
                        if time < last_time && !is_later {
                            break;
                        }
                        if is_later || is_doubtful || !superblock.is_async {
                            let number = cursor.sequence;
                            return Err(ReadError::damaged(format!("transaction {number} of the journal is damaged")));
                        }
                        end = end.or(Some(cursor.sequence));
                    }
                    last_time = time;
                    cursor.sequence = cursor.sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        Ok(end.unwrap_or(cursor.sequence))
    }

    /// Returns the last transaction that revokes each block.
    fn revocations(&self, start: u64, end: u32) -> ReadResult<HashMap<u64, u32>> {
        let mut revoked = HashMap::new();
        let mut cursor = self.cursor(start);
        while let Some((kind, block)) = cursor.read_before(end)? {
            match kind {
                DESCRIPTOR => cursor.skip(self.tags(&block).count() as u64)?,
                COMMIT => cursor.sequence = cursor.sequence.wrapping_add(1),
                _ => {
                    for block in self.revoked_blocks(&block)? {
                        if revoked.len() == LOG_BLOCKS_LIMIT {
                            return Err(limit("revoked blocks"));
                        }
                        // Transactions come in ascending order.
                        revoked.insert(block, cursor.sequence);
                    }
                }
            }
        }
        Ok(revoked)
    }

    /// Returns the newest copies of the blocks that no later transaction, and not their own, revokes.
    fn copies(&self, start: u64, end: u32, revoked: &HashMap<u64, u32>) -> ReadResult<Vec<Copy>> {
        let mut copies = Vec::new();
        let mut cursor = self.cursor(start);
        while let Some((kind, block)) = cursor.read_before(end)? {
            match kind {
                DESCRIPTOR => {
                    if !self.has_valid_tail(&block) {
                        let number = cursor.sequence;
                        return Err(ReadError::damaged(format!("transaction {number} of the journal is damaged")));
                    }
                    for tag in self.tags(&block) {
                        let at = cursor.next;
                        cursor.skip(1)?;
                        let is_revoked = revoked.get(&tag.block).is_some_and(|last| !is_later(cursor.sequence, *last));
                        if !is_revoked {
                            if copies.len() == LOG_BLOCKS_LIMIT {
                                return Err(limit("blocks"));
                            }
                            copies.push(self.copy(&tag, at, cursor.sequence)?);
                        }
                    }
                }
                COMMIT => cursor.sequence = cursor.sequence.wrapping_add(1),
                _ => {}
            }
        }
        // The sort is stable, so the newest copy of a block comes last.
        copies.sort_by_key(|copy| copy.block);
        copies.reverse();
        copies.dedup_by_key(|copy| copy.block);
        copies.reverse();
        Ok(copies)
    }

    /// Checks the copy of a block, which is block `at` of the journal.
    fn copy(&self, tag: &Tag, at: u64, sequence: u32) -> ReadResult<Copy> {
        let place = self.pieces.place(at)?;
        if let Some(seed) = self.superblock().seed() {
            let bytes = self.pieces.read(self.reader, at)?;
            let checksum = seed.with(&sequence.to_be_bytes()).with(&bytes).value();
            let is_valid = match self.superblock().checksums {
                Checksums::V3 => checksum == tag.checksum,
                _ => checksum & 0xffff == tag.checksum,
            };
            if !is_valid {
                return Err(ReadError::damaged(format!("the copy of block {} in the journal is damaged", tag.block)));
            }
        }
        // The file system may have grown since its superblock was written, so the disk is the limit.
        let block_size = self.reader.volume().block_size as u64;
        let length = self.reader.disk().length().map_err(|source| ReadError::Io { offset: 0, source })?;
        if tag.block >= length / block_size {
            return Err(ReadError::damaged(format!("the journal has block {}, which does not exist", tag.block)));
        }
        Ok(Copy { block: tag.block, place, is_escaped: tag.flags & ESCAPED != 0 })
    }

    /// Iterates over the tags of a descriptor block.
    fn tags<'b>(&self, block: &'b [u8]) -> impl Iterator<Item = Tag> + use<'b, R> {
        let superblock = self.superblock();
        let (length, version, has_64_bits) = (superblock.tag_length(), superblock.checksums, superblock.has_64_bits);
        let end = block.len() - if superblock.seed().is_some() { TAIL } else { 0 };
        let mut next = Some(HEADER);
        std::iter::from_fn(move || {
            let at = next.filter(|at| at + length <= end)?;
            let flags = u16_at(block, at + 6);
            let high = if has_64_bits { u64::from(u32_at(block, at + 8)) << 32 } else { 0 };
            let checksum = match version {
                Checksums::V3 => u32_at(block, at + 12),
                _ => u16_at(block, at + 4).into(),
            };
            let uuid = if flags & SAME_UUID == 0 { 16 } else { 0 };
            next = (flags & LAST == 0).then_some(at + length + uuid);
            Some(Tag { block: u64::from(u32_at(block, at)) | high, flags, checksum })
        })
    }

    /// Returns the blocks that a revocation block lists.
    fn revoked_blocks(&self, block: &[u8]) -> ReadResult<Vec<u64>> {
        let superblock = self.superblock();
        let room = block.len() - if superblock.seed().is_some() { TAIL } else { 0 };
        let length = u32_at(block, HEADER) as usize;
        if length > room {
            return Err(ReadError::damaged("a block of the journal revokes more blocks than it can list"));
        }
        let list = block.get(REVOCATION_HEADER..length).unwrap_or_default();
        Ok(match superblock.has_64_bits {
            true => list.as_chunks::<8>().0.iter().map(|entry| u64::from_be_bytes(*entry)).collect(),
            false => list.as_chunks::<4>().0.iter().map(|entry| u32::from_be_bytes(*entry).into()).collect(),
        })
    }

    /// Verifies the checksum at the end of a descriptor or revocation block, if the journal has any.
    fn has_valid_tail(&self, block: &[u8]) -> bool {
        let Some(seed) = self.superblock().seed() else { return true };
        let (bytes, stored) = block.split_at(block.len() - TAIL);
        seed.with(bytes).with(&[0; TAIL]).value() == u32_at(stored, 0)
    }

    /// Verifies the checksum of a commit block. `transaction` is that of the blocks of the transaction.
    fn has_valid_commit(&self, block: &[u8], transaction: &Crc32) -> bool {
        let stored = u32_at(block, COMMIT_CHECKSUM);
        if let Some(seed) = self.superblock().seed() {
            let mut zeroed = block.to_vec();
            zeroed[COMMIT_CHECKSUM..COMMIT_CHECKSUM + 4].fill(0);
            return seed.with(&zeroed).value() == stored;
        }
        if self.superblock().checksums != Checksums::V1 {
            return true;
        }
        // Type 1 is CRC-32, of four bytes. Without a type there is no checksum.
        match (u16_at(block, COMMIT_CHECKSUM_TYPE), stored) {
            (0x0104, stored) => stored == transaction.0,
            (0, 0) => true,
            _ => false,
        }
    }
}

impl<R: ReadAt> Cursor<'_, R> {
    /// Reads the next block, if it belongs to the current transaction and is not a copy of another one.
    fn read(&mut self) -> ReadResult<Option<(u32, Vec<u8>)>> {
        let block = self.journal.pieces.read(self.journal.reader, self.next)?;
        self.skip(1)?;
        let belongs = u32_at(&block, 0) == MAGIC && u32_at(&block, 8) == self.sequence;
        Ok(belongs.then(|| (u32_at(&block, 4), block)))
    }

    /// Reads the next block of the transactions before `end`.
    fn read_before(&mut self, end: u32) -> ReadResult<Option<(u32, Vec<u8>)>> {
        if !is_later(end, self.sequence) {
            return Ok(None);
        }
        let number = self.sequence;
        let damaged = || ReadError::damaged(format!("transaction {number} of the journal is damaged"));
        match self.read()? {
            Some((kind @ (DESCRIPTOR | COMMIT | REVOCATION), block)) => Ok(Some((kind, block))),
            _ => Err(damaged()),
        }
    }

    /// Passes blocks. After the last block of the log comes the first.
    fn skip(&mut self, count: u64) -> ReadResult<()> {
        let superblock = self.journal.superblock();
        let length = superblock.end - superblock.first;
        self.next = superblock.first + (self.next - superblock.first + count) % length;
        self.passed += count;
        // The last block that was looked at is the first of the log if the log fills the journal.
        match self.passed <= length + 1 {
            true => Ok(()),
            false => Err(ReadError::damaged("the log of the journal has no end")),
        }
    }
}

/// Returns whether a transaction comes after another one. Their numbers wrap.
fn is_later(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

fn limit(what: &str) -> ReadError {
    ReadError::Limit { what: format!("the log of the journal has too many {what}"), limit: "LOG_BLOCKS_LIMIT" }
}

/// CRC-32 with the highest bit first (`crc32_be` of the kernel), of the oldest checksums.
struct Crc32(u32);

impl Crc32 {
    fn new() -> Self {
        Self(!0)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte) << 24;
            for _ in 0..8 {
                let carry = if self.0 >> 31 == 1 { 0x04c1_1db7 } else { 0 };
                self.0 = self.0 << 1 ^ carry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_transactions_wrap() {
        assert!(is_later(2, 1) && !is_later(1, 1) && !is_later(1, 2));
        assert!(is_later(0, u32::MAX) && !is_later(u32::MAX, 0));
    }

    #[test]
    fn crc_has_the_highest_bit_first() {
        // CRC-32/MPEG-2, the check value of "123456789".
        let mut crc = Crc32::new();
        crc.add(b"123456789");
        assert_eq!(crc.0, 0x0376_e6e7);
    }
}
