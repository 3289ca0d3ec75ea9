//! The indexes of a compressed file, which stand behind its inode and xattrs.
//!
//! For each 4096 bytes of the file there is an entry: of the kind *head* or *plain* where an extent begins in them, with
//! the offset at which it does, else of the kind *rest*, with the distance to the head. Entries come in packs with one
//! address for all of them, and the address of a head follows from how many blocks the heads before it in the pack have.
//! Packs of 16 entries take 32 bytes and lie on multiples of 32; before the first and after the last of them are packs
//! of two entries in 8 bytes.

use zerocopy::IntoBytes;

use super::extent::Extent;
use crate::format::{BLOCK, BLOCK_BITS, MapHeader};

/// There are packs of 16 entries.
const ADVISE_LARGE_PACKS: u16 = 0x1;
/// Extents may have more than one block: heads of the first and of the second kind.
const ADVISE_MANY_BLOCKS: u16 = 0x6;

/// Kinds of entries.
const PLAIN: u16 = 0;
const HEAD: u16 = 1;
const REST: u16 = 2;
/// In the first *rest* after a head stands how many blocks it has, with this bit, where extents may have many.
const BLOCK_COUNT: u16 = 1 << 11;

const LARGE_PACK: usize = 16;
const LARGE_PACK_BYTES: u64 = 32;
const SMALL_PACK: usize = 2;
const SMALL_PACK_BYTES: u64 = 8;

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// The number of the algorithm.
    pub(crate) algorithm: u8,
    /// Whether an extent may have more than one block.
    pub(crate) many_blocks: bool,
}

/// Bytes from the end of an inode's xattrs to the end of its indexes.
pub(crate) fn size(head: u64, file_size: u64) -> u64 {
    let start = start(head);
    let (before, large, after) = packs(start, file_size.div_ceil(BLOCK));
    start - head + SMALL_PACK_BYTES * (before + after) + LARGE_PACK_BYTES * large
}

/// Where entries start: behind a header on a multiple of eight.
fn start(head: u64) -> u64 {
    head.next_multiple_of(8) + size_of::<MapHeader>() as u64
}

/// How many small packs, large packs, and small packs again.
fn packs(start: u64, entries: u64) -> (u64, u64, u64) {
    let before = (start.next_multiple_of(LARGE_PACK_BYTES) - start) / SMALL_PACK_BYTES;
    let Some(rest) = entries.checked_sub(before * SMALL_PACK as u64) else {
        return (entries.div_ceil(SMALL_PACK as u64), 0, 0);
    };
    let large = rest / LARGE_PACK as u64;
    (before, large, (rest % LARGE_PACK as u64).div_ceil(SMALL_PACK as u64))
}

/// Writes the indexes behind an inode and its xattrs, which `bytes` holds, and which go to a multiple of 32. `block` is
/// the first block of the first extent, and the others follow.
pub(crate) fn write(scheme: Scheme, block: u32, extents: &[Extent], bytes: &mut Vec<u8>) {
    let head = bytes.len() as u64;
    let start = start(head);
    let header = MapHeader {
        advise: (ADVISE_LARGE_PACKS | if scheme.many_blocks { ADVISE_MANY_BLOCKS } else { 0 }).into(),
        algorithms: scheme.algorithm,
        ..MapHeader::default()
    };
    let padding = head.next_multiple_of(8) - head;
    bytes.resize(bytes.len() + padding as usize, 0);
    bytes.extend_from_slice(header.as_bytes());
    let file_size: u64 = extents.iter().map(|extent| u64::from(extent.length)).sum();
    let (before, large, after) = packs(start, file_size.div_ceil(BLOCK));
    let mut entries = Entries::new(block, extents);
    for (count, pack, pack_bytes) in [
        (before, SMALL_PACK, SMALL_PACK_BYTES),
        (large, LARGE_PACK, LARGE_PACK_BYTES),
        (after, SMALL_PACK, SMALL_PACK_BYTES),
    ] {
        for _ in 0..count {
            let pack: Vec<_> = entries.by_ref().take(pack).collect();
            write_pack(scheme, &pack, pack_bytes as usize, bytes);
        }
    }
}

/// What is known of 4096 bytes of the file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: u16,
    /// The block that the extent begins with.
    block: u32,
    /// How many it has.
    blocks: u32,
    /// For a head, where in the bytes it begins.
    offset: u16,
    /// For a rest, how many entries back the head is.
    back: u16,
    /// For a rest, how many entries on the next head is.
    on: u16,
}

/// The entries of a file.
struct Entries<'a> {
    extents: std::slice::Iter<'a, Extent>,
    /// What is left of an extent of plain blocks: each of them is one of its own here.
    plain: Option<Extent>,
    /// Where in the file, and in which block, the next extent begins.
    position: u64,
    block: u32,
    /// Entries that are still to come of the current extent.
    current: Option<Entry>,
}

impl<'a> Entries<'a> {
    fn new(block: u32, extents: &'a [Extent]) -> Self {
        Self { extents: extents.iter(), plain: None, position: 0, block, current: None }
    }

    /// The head of the next extent; `on` is the number of its entries.
    fn next_head(&mut self) -> Option<Entry> {
        let offset = (self.position % BLOCK) as u16;
        let Some(extent) = self.next_extent() else {
            // Where the last extent ends in the middle of an entry that it does not begin in, a reader must not take it
            // for a part of what precedes: it looks like an extent that begins where the file ends.
            let end = Entry { kind: PLAIN, block: self.block, blocks: 1, offset, back: 0, on: 1 };
            self.position = self.position.next_multiple_of(BLOCK);
            return (offset > 0).then_some(end);
        };
        let end = self.position + u64::from(extent.length);
        let on = end / BLOCK - self.position / BLOCK;
        let kind = if extent.is_plain() { PLAIN } else { HEAD };
        let head = Entry { kind, block: self.block, blocks: extent.blocks, offset, back: 0, on: on.max(1) as u16 };
        // An extent in the last entry, which the one before ends in: there is no further entry.
        self.position = if on == 0 { end.next_multiple_of(BLOCK) } else { end };
        self.block += extent.blocks;
        Some(head)
    }
}

impl Entries<'_> {
    fn next_extent(&mut self) -> Option<Extent> {
        let extent = self.plain.take().or_else(|| self.extents.next().copied())?;
        if !extent.is_plain() || extent.blocks == 1 {
            return Some(extent);
        }
        self.plain = Some(Extent { length: extent.length - BLOCK as u32, blocks: extent.blocks - 1 });
        Some(Extent { length: BLOCK as u32, blocks: 1 })
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let entry = match self.current.take() {
            Some(entry) => entry,
            None => self.next_head()?,
        };
        if entry.on > 1 {
            self.current = Some(Entry { kind: REST, back: entry.back + 1, on: entry.on - 1, ..entry });
        }
        Some(entry)
    }
}

/// Writes a pack, of which the last may have fewer entries than it has room for.
fn write_pack(scheme: Scheme, entries: &[Entry], size: usize, bytes: &mut Vec<u8>) {
    let room = if size as u64 == LARGE_PACK_BYTES { LARGE_PACK } else { SMALL_PACK };
    let width = (size - size_of::<u32>()) * 8 / room;
    let end = bytes.len() + size - size_of::<u32>();
    let (mut bits, mut count) = (0_u64, 0);
    for (index, entry) in entries.iter().enumerate() {
        let is_last = index + 1 == room;
        let value = match entry.kind {
            REST if scheme.many_blocks && entry.back == 1 => BLOCK_COUNT | entry.blocks as u16,
            REST if is_last => entry.on,
            REST => entry.back,
            _ => entry.offset,
        };
        bits |= u64::from(entry.kind << BLOCK_BITS | value) << count;
        count += width;
        while count >= 8 {
            bytes.push(bits as u8); // the lowest ones
            bits >>= 8;
            count -= 8;
        }
    }
    bytes.push(bits as u8);
    bytes.resize(end, 0);
    bytes.extend_from_slice(&address(scheme, entries).to_le_bytes());
}

/// The address of a pack, to which a reader adds the blocks of the extents that come before an entry in it.
fn address(scheme: Scheme, entries: &[Entry]) -> u32 {
    // With one block an extent, a reader counts heads, and the head itself.
    if !scheme.many_blocks {
        return entries.iter().find(|entry| entry.kind != REST).map_or(0, |head| head.block - 1);
    }
    // With many, it adds up numbers of blocks where they stand, which may be in the pack after the head.
    let counted = |entry: &&Entry| entry.kind != REST || entry.back == 1;
    entries.iter().find(counted).map_or(0, |entry| entry.block)
}

#[cfg(test)]
mod tests;
