//! The indexes of a compressed file, which follow its inode and xattrs.
//!
//! There is an entry for each 4096 bytes of the file. Its kind is *head* or *plain* if an extent begins in these bytes;
//! the entry then holds the extent's offset in them. Otherwise the kind is *rest*, and the entry holds the distance to
//! the head.
//!
//! Entries are stored in packs with one block address for all entries. The address of a head follows from the number of
//! blocks of the heads before it in the pack. Packs of 16 entries take 32 bytes and are aligned to 32 bytes. Before the
//! first and after the last of them are packs of two entries in 8 bytes.

use zerocopy::IntoBytes;

use super::extent::Extent;
use crate::format::{BLOCK, BLOCK_BITS, MapHeader};

/// The indexes have packs of 16 entries.
const ADVISE_LARGE_PACKS: u16 = 0x1;
/// Extents may have more than one block, both those of the first and of the second kind of head.
const ADVISE_MANY_BLOCKS: u16 = 0x6;

/// Kinds of entries.
const PLAIN: u16 = 0;
const HEAD: u16 = 1;
const REST: u16 = 2;
/// Set in the first *rest* after a head if extents may have several blocks. The entry then holds the number of blocks.
const BLOCK_COUNT: u16 = 1 << 11;

const LARGE_PACK: usize = 16;
const LARGE_PACK_BYTES: u64 = 32;
const SMALL_PACK: usize = 2;
const SMALL_PACK_BYTES: u64 = 8;

/// The compression scheme of an image's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// The number of the algorithm.
    pub(crate) algorithm: u8,
    /// Whether an extent may have more than one block.
    pub(crate) many_blocks: bool,
}

/// Returns the bytes from the end of an inode's xattrs to the end of its indexes. `head` is the size of the inode and
/// its xattrs.
pub(crate) fn size(head: u64, file_size: u64) -> u64 {
    let start = start(head);
    let (before, large, after) = packs(start, file_size.div_ceil(BLOCK));
    start - head + SMALL_PACK_BYTES * (before + after) + LARGE_PACK_BYTES * large
}

/// Returns the offset of the entries, which follow a header aligned to 8 bytes.
fn start(head: u64) -> u64 {
    head.next_multiple_of(8) + size_of::<MapHeader>() as u64
}

/// Returns the numbers of small packs, of large packs, and of small packs after them.
fn packs(start: u64, entries: u64) -> (u64, u64, u64) {
    let before = (start.next_multiple_of(LARGE_PACK_BYTES) - start) / SMALL_PACK_BYTES;
    let Some(rest) = entries.checked_sub(before * SMALL_PACK as u64) else {
        return (entries.div_ceil(SMALL_PACK as u64), 0, 0);
    };
    let large = rest / LARGE_PACK as u64;
    (before, large, (rest % LARGE_PACK as u64).div_ceil(SMALL_PACK as u64))
}

/// Appends the indexes to `bytes`, which holds the inode and its xattrs and will be stored at a multiple of 32. `block`
/// is the first block of the first extent; the other extents follow.
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

/// The entry for 4096 bytes of the file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: u16,
    /// The first block of the extent.
    block: u32,
    /// The number of blocks of the extent.
    blocks: u32,
    /// For a head: the offset of the extent in the 4096 bytes.
    offset: u16,
    /// For a rest: the number of entries back to the head.
    back: u16,
    /// For a rest: the number of entries to the next head.
    ahead: u16,
}

/// Iterates over the entries of a file.
struct Entries<'a> {
    extents: std::slice::Iter<'a, Extent>,
    /// The rest of a plain extent of several blocks, each of which becomes an extent here.
    plain: Option<Extent>,
    /// The offset in the file and the block at which the next extent begins.
    position: u64,
    block: u32,
    /// The next entry of the current extent.
    current: Option<Entry>,
}

impl<'a> Entries<'a> {
    fn new(block: u32, extents: &'a [Extent]) -> Self {
        Self { extents: extents.iter(), plain: None, position: 0, block, current: None }
    }

    /// Returns the head of the next extent; its `ahead` is the number of the extent's entries.
    fn next_head(&mut self) -> Option<Entry> {
        let offset = (self.position % BLOCK) as u16;
        let Some(extent) = self.next_extent() else {
            // If the last extent ends within an entry that it does not begin in, a reader would take that entry for a
            // part of the extent before. So the entry is written as an extent that begins at the end of the file.
            let end = Entry { kind: PLAIN, block: self.block, blocks: 1, offset, back: 0, ahead: 1 };
            self.position = self.position.next_multiple_of(BLOCK);
            return (offset > 0).then_some(end);
        };
        let end = self.position + u64::from(extent.length);
        let ahead = end / BLOCK - self.position / BLOCK;
        let kind = if extent.is_plain() { PLAIN } else { HEAD };
        let head =
            Entry { kind, block: self.block, blocks: extent.blocks, offset, back: 0, ahead: ahead.max(1) as u16 };
        // The extent ends in the entry in which it begins, the last one, so there is no further entry.
        self.position = if ahead == 0 { end.next_multiple_of(BLOCK) } else { end };
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
        if entry.ahead > 1 {
            self.current = Some(Entry { kind: REST, back: entry.back + 1, ahead: entry.ahead - 1, ..entry });
        }
        Some(entry)
    }
}

/// Appends a pack. The last one may have fewer entries than fit.
fn write_pack(scheme: Scheme, entries: &[Entry], size: usize, bytes: &mut Vec<u8>) {
    let room = if size as u64 == LARGE_PACK_BYTES { LARGE_PACK } else { SMALL_PACK };
    let width = (size - size_of::<u32>()) * 8 / room;
    let end = bytes.len() + size - size_of::<u32>();
    let (mut bits, mut count) = (0_u64, 0);
    for (index, entry) in entries.iter().enumerate() {
        let is_last = index + 1 == room;
        let value = match entry.kind {
            REST if scheme.many_blocks && entry.back == 1 => BLOCK_COUNT | entry.blocks as u16,
            REST if is_last => entry.ahead,
            REST => entry.back,
            _ => entry.offset,
        };
        bits |= u64::from(entry.kind << BLOCK_BITS | value) << count;
        count += width;
        while count >= 8 {
            bytes.push(bits as u8); // the lowest 8 bits
            bits >>= 8;
            count -= 8;
        }
    }
    bytes.push(bits as u8);
    bytes.resize(end, 0);
    bytes.extend_from_slice(&address(scheme, entries).to_le_bytes());
}

/// Returns the block address of a pack. A reader adds the blocks of the extents before an entry in the pack.
fn address(scheme: Scheme, entries: &[Entry]) -> u32 {
    // If every extent has one block, a reader counts the heads, including the head itself.
    if !scheme.many_blocks {
        return entries.iter().find(|entry| entry.kind != REST).map_or(0, |head| head.block - 1);
    }
    // If extents have several blocks, a reader adds the block counts, which can be in the pack after the head.
    let counted = |entry: &&Entry| entry.kind != REST || entry.back == 1;
    entries.iter().find(counted).map_or(0, |entry| entry.block)
}

#[cfg(test)]
mod tests;
