//! The tags of fast commits. A tag has a type, a length and a value. They are little-endian, unlike the rest of a journal.

use super::Pieces;
use crate::checksum::crc32c;
use crate::format::MAX_EXTENT;
use crate::read::{BlockRun, Ext4Reader, Place, ReadAt, ReadError, ReadResult};

/// Bytes of the type and the length.
const HEADER: usize = 4;
/// The most blocks of an area for fast commits that are read.
const FAST_BLOCKS_LIMIT: u64 = 65_536;

/// Types of tags.
const ADD_RANGE: u16 = 1;
const REMOVE_RANGE: u16 = 2;
const CREATE: u16 = 3;
const LINK: u16 = 4;
const UNLINK: u16 = 5;
const INODE: u16 = 6;
const PADDING: u16 = 7;
const TAIL: u16 = 8;
const HEAD: u16 = 9;

/// A change.
pub(super) enum Tag {
    Link(TaggedName),
    Create(TaggedName),
    Unlink(TaggedName),
    /// The new fields of an inode.
    Inode(u32, Vec<u8>),
    /// The new place of a range of an inode's blocks.
    AddRange(u32, BlockRun),
    RemoveRange(u32, BlockRun),
}

/// A name in a directory.
pub(super) struct TaggedName {
    pub(super) parent: u32,
    pub(super) inode: u32,
    pub(super) name: Vec<u8>,
}

/// Reads the tags of all complete fast commits of transaction `number`.
pub(super) fn read<R: ReadAt>(reader: &Ext4Reader<R>, pieces: &Pieces, number: u32) -> ReadResult<Vec<Tag>> {
    let Some(area) = pieces.superblock.fast.clone() else { return Ok(Vec::new()) };
    if area.end - area.start > FAST_BLOCKS_LIMIT {
        let what = "the journal has too many blocks for fast commits".to_owned();
        return Err(ReadError::Limit { what, limit: "FAST_BLOCKS_LIMIT" });
    }
    let mut scan = Scan { number, checksum: 0, complete: Vec::new(), pending: Vec::new(), is_first: true };
    for block in area {
        let bytes = pieces.read(reader, block)?;
        if !scan.add_block(&bytes)? {
            break;
        }
    }
    Ok(scan.complete)
}

/// The state of reading the area.
struct Scan {
    number: u32,
    /// The checksum of the tags since the last complete fast commit.
    checksum: u32,
    complete: Vec<Tag>,
    pending: Vec<Tag>,
    is_first: bool,
}

impl Scan {
    /// Adds the tags of a block. Returns `false` at the end of the valid ones.
    fn add_block(&mut self, block: &[u8]) -> ReadResult<bool> {
        let mut at = 0;
        while at + HEADER < block.len() {
            let [kind, length] = [at, at + 2].map(|at| u16::from_le_bytes([block[at], block[at + 1]]));
            let Some(value) = block[at + HEADER..].get(..length.into()) else { return Ok(false) };
            if std::mem::take(&mut self.is_first) && kind != HEAD {
                return Ok(false);
            }
            match kind {
                TAIL | HEAD if value.len() < 8 => return Ok(false),
                HEAD if u32_at(value, 4) != self.number => return Ok(false),
                HEAD if u32_at(value, 0) != 0 => {
                    let features = u32_at(value, 0);
                    let why = format!("a fast commit has features that cannot be read: {features:#x}");
                    return Err(ReadError::Unsupported(why));
                }
                TAIL => {
                    let sum = crc32c(self.checksum, &block[at..at + HEADER + 4]);
                    if u32_at(value, 0) != self.number || u32_at(value, 4) != sum {
                        return Ok(false);
                    }
                    self.complete.append(&mut self.pending);
                    self.checksum = 0;
                    at += HEADER + value.len();
                    continue;
                }
                HEAD | PADDING => {}
                _ => match decode(kind, value) {
                    Some(tag) => self.pending.push(tag),
                    None => return Ok(false),
                },
            }
            self.checksum = crc32c(self.checksum, &block[at..at + HEADER + value.len()]);
            at += HEADER + value.len();
        }
        Ok(true)
    }
}

/// Decodes a change. Returns `None` for an unknown type and for an invalid value, which end the list.
fn decode(kind: u16, value: &[u8]) -> Option<Tag> {
    let has = |length| (value.len() >= length).then_some(());
    Some(match kind {
        CREATE | LINK | UNLINK => {
            has(9)?;
            let entry = TaggedName { parent: u32_at(value, 0), inode: u32_at(value, 4), name: value[8..].to_vec() };
            let is_name = entry.name.len() <= 255 && !entry.name.iter().any(|byte| matches!(byte, 0 | b'/'));
            (is_name && entry.name != b"." && entry.name != b"..").then_some(())?;
            match kind {
                CREATE => Tag::Create(entry),
                LINK => Tag::Link(entry),
                _ => Tag::Unlink(entry),
            }
        }
        INODE => {
            has(4)?;
            Tag::Inode(u32_at(value, 0), value[4..].to_vec())
        }
        ADD_RANGE => {
            has(16)?;
            let length = u64::from(u16::from_le_bytes([value[8], value[9]]));
            let high = u64::from(u16::from_le_bytes([value[10], value[11]]));
            let first = u64::from(u32_at(value, 12)) | high << 32;
            let (count, place) = match length > MAX_EXTENT {
                true => (length - MAX_EXTENT, Place::Zeros),
                false => (length, Place::Blocks(first)),
            };
            (count > 0).then_some(())?;
            Tag::AddRange(u32_at(value, 0), BlockRun { first: u32_at(value, 4).into(), count, place })
        }
        REMOVE_RANGE => {
            has(12)?;
            let count = u64::from(u32_at(value, 8));
            (count > 0).then_some(())?;
            Tag::RemoveRange(u32_at(value, 0), BlockRun { first: u32_at(value, 4).into(), count, place: Place::Zeros })
        }
        _ => return None,
    })
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}
