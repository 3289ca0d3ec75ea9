//! The entries of a directory.

use vmroot_container_fs::InodeKind;

use super::checksum::Seed;
use super::format::BLOCK;

/// Bytes of a block's tail: an entry without a name that holds the checksum.
const TAIL: usize = 12;
/// Bytes of a block that are available for entries.
pub(super) const ROOM: usize = BLOCK - TAIL;

/// Returns the bytes of an entry with this name (`struct ext4_dir_entry_2`).
pub(super) fn length_of(name: &[u8]) -> usize {
    8 + name.len().next_multiple_of(4)
}

/// Returns the fields of an entry that precede its name.
pub(super) fn entry_header(inode: u32, length: usize, name: usize, kind: InodeKind) -> [u8; 8] {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&inode.to_le_bytes());
    header[4..6].copy_from_slice(&(length as u16).to_le_bytes());
    header[6] = name as u8;
    header[7] = kind.file_type();
    header
}

/// A block of directory entries.
pub(super) struct EntryBlock {
    bytes: Box<[u8; BLOCK]>,
    /// Offset of the last entry, and of the next one.
    last: usize,
    at: usize,
}

impl EntryBlock {
    pub(super) fn new() -> Self {
        Self { bytes: Box::new([0; BLOCK]), last: 0, at: 0 }
    }

    /// Adds an entry. The caller has checked that it fits.
    pub(super) fn push(&mut self, name: &[u8], inode: u32, kind: InodeKind) {
        let length = length_of(name);
        let place = &mut self.bytes[self.at..self.at + length];
        place[..8].copy_from_slice(&entry_header(inode, length, name.len(), kind));
        place[8..8 + name.len()].copy_from_slice(name);
        self.last = self.at;
        self.at += length;
    }

    /// Extends the last entry to the end of the block and adds the checksum (`struct ext4_dir_entry_tail`).
    pub(super) fn finish(&mut self, seed: Seed) -> &[u8; BLOCK] {
        let length = (ROOM - self.last) as u16;
        self.bytes[self.last + 4..self.last + 6].copy_from_slice(&length.to_le_bytes());
        let checksum = seed.with(&self.bytes[..ROOM]).value();
        self.bytes[ROOM + 4] = TAIL as u8;
        self.bytes[ROOM + 7] = 0xde;
        self.bytes[ROOM + 8..].copy_from_slice(&checksum.to_le_bytes());
        &self.bytes
    }
}
