//! The superblock of a journal (kernel documentation, "Journal (jbd2)", "Super Block").

use super::big_endian::u32_at;
use crate::checksum::{Seed, crc32c};
use crate::read::{ReadError, ReadResult};

/// The number at the start of each block of the journal that is not a copy of another block.
pub(super) const MAGIC: u32 = 0xc03b_3998;
/// Bytes of the superblock.
pub(super) const LENGTH: usize = 1024;
/// Offsets of fields.
pub(super) const SEQUENCE: usize = 24;
pub(super) const START: usize = 28;
pub(super) const CHECKSUM: usize = 0xfc;
/// Blocks for fast commits, if the superblock has no number.
const DEFAULT_FAST_BLOCKS: u64 = 256;
/// The fewest blocks that the kernel leaves for transactions.
const LEAST_BLOCKS: u64 = 1024;

/// `s_feature_incompat`.
mod incompatible {
    pub(super) const REVOKE: u32 = 0x1;
    pub(super) const BITS_64: u32 = 0x2;
    pub(super) const ASYNC_COMMIT: u32 = 0x4;
    pub(super) const CSUM_V2: u32 = 0x8;
    pub(super) const CSUM_V3: u32 = 0x10;
    pub(super) const FAST_COMMIT: u32 = 0x20;
}

/// `s_feature_compat`: commit blocks have a checksum of the transaction.
const COMPATIBLE_CHECKSUM: u32 = 0x1;

/// The checksums of a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Checksums {
    #[default]
    None,
    /// One of all blocks, in the commit block.
    V1,
    /// One for each block, with 16 bits in its tag.
    V2,
    /// One for each block.
    V3,
}

/// A checked superblock of a journal.
#[derive(Debug, Clone, Default)]
pub(super) struct JournalSuperblock {
    /// The first block of the log.
    pub(super) first: u64,
    /// The block after the last one of the log.
    pub(super) end: u64,
    /// The number of the first transaction in the log.
    pub(super) sequence: u32,
    /// The block of the first transaction. `None` if the log is empty.
    pub(super) start: Option<u64>,
    pub(super) has_64_bits: bool,
    /// Commit blocks may reach the disk before the blocks of their transaction.
    pub(super) is_async: bool,
    pub(super) checksums: Checksums,
    /// The start of all checksums of [`Checksums::V2`] and [`Checksums::V3`].
    seed: u32,
    /// The blocks for fast commits.
    pub(super) fast: Option<std::ops::Range<u64>>,
}

impl JournalSuperblock {
    /// Decodes the first block of a journal of `blocks` blocks.
    pub(super) fn decode(block: &[u8], blocks: u64) -> ReadResult<Self> {
        let damaged = |what: &str| ReadError::damaged(format!("the superblock of the journal has an invalid {what}"));
        let field = |offset| u32_at(block, offset);
        let is_new = match (field(0), field(4)) {
            (MAGIC, 3) => false,
            (MAGIC, 4) => true,
            _ => return Err(damaged("start")),
        };
        let (length, first, start) = (u64::from(field(16)), u64::from(field(20)), u64::from(field(START)));
        if field(12) as usize != block.len() {
            return Err(damaged("size of blocks"));
        }
        if length > blocks || first == 0 || first >= length {
            return Err(damaged("length"));
        }
        let [compatible, incompatible] = if is_new { [36, 40].map(field) } else { [0, 0] };
        refuse_unknown(incompatible)?;
        let checksums = checksums(compatible, incompatible).ok_or_else(|| damaged("set of checksums"))?;
        if matches!(checksums, Checksums::V2 | Checksums::V3) {
            let mut zeroed = block[..LENGTH].to_vec();
            zeroed[CHECKSUM..CHECKSUM + 4].fill(0);
            if block[0x50] != 4 || crc32c(!0, &zeroed) != field(CHECKSUM) {
                return Err(damaged("checksum"));
            }
        }
        let mut end = length;
        let mut fast = None;
        if incompatible & incompatible::FAST_COMMIT != 0 {
            let count = match field(0x54) {
                0 => DEFAULT_FAST_BLOCKS,
                count => count.into(),
            };
            if length.checked_sub(count).is_some_and(|rest| rest >= LEAST_BLOCKS) {
                end = length - count;
                fast = Some(end + 1..length);
            }
        }
        if start != 0 && !(first..end).contains(&start) {
            return Err(damaged("start of the log"));
        }
        Ok(Self {
            first,
            end,
            sequence: field(SEQUENCE),
            start: (start != 0).then_some(start),
            has_64_bits: incompatible & incompatible::BITS_64 != 0,
            is_async: incompatible & incompatible::ASYNC_COMMIT != 0,
            checksums,
            seed: crc32c(!0, &block[48..64]),
            fast,
        })
    }

    /// Returns the start of a checksum of [`Checksums::V2`] or [`Checksums::V3`], and `None` for other journals.
    pub(super) fn seed(&self) -> Option<Seed> {
        matches!(self.checksums, Checksums::V2 | Checksums::V3).then(|| Seed::starting_with(self.seed))
    }

    /// Returns bytes of a tag in a descriptor block, without a UUID.
    pub(super) fn tag_length(&self) -> usize {
        let rest = if self.has_64_bits { 12 } else { 8 };
        match self.checksums {
            Checksums::V3 => 16,
            Checksums::V2 => rest + 2,
            Checksums::V1 | Checksums::None => rest,
        }
    }
}

fn checksums(compatible: u32, incompatible: u32) -> Option<Checksums> {
    let set = [
        compatible & COMPATIBLE_CHECKSUM != 0,
        incompatible & incompatible::CSUM_V2 != 0,
        incompatible & incompatible::CSUM_V3 != 0,
    ];
    match set {
        [false, false, false] => Some(Checksums::None),
        [true, false, false] => Some(Checksums::V1),
        [false, true, false] => Some(Checksums::V2),
        [false, false, true] => Some(Checksums::V3),
        _ => None,
    }
}

/// Refuses features that this reader does not know. Blocks with revocations occur before the feature is set, so it is
/// not asked for.
fn refuse_unknown(features: u32) -> ReadResult<()> {
    const KNOWN: u32 = incompatible::REVOKE
        | incompatible::BITS_64
        | incompatible::ASYNC_COMMIT
        | incompatible::CSUM_V2
        | incompatible::CSUM_V3
        | incompatible::FAST_COMMIT;
    match features & !KNOWN {
        0 => Ok(()),
        unknown => Err(ReadError::Unsupported(format!(
            "the journal has features that cannot be read: the incompatible bits {unknown:#x}"
        ))),
    }
}
