//! Directories: one block of entries, or several with an index.

use vmroot_container_fs::{ContainerFs, DirEntry, InodeId, InodeKind};

use super::checksum::Seed;
use super::format::BLOCK;
use super::hash::NameHasher;
use super::htree::{Index, TooManyEntries};
use super::inode::number_of;

/// Bytes of a block's tail: an entry without a name that holds the checksum.
const TAIL: usize = 12;
/// Bytes of a block that are available for entries.
pub(super) const ROOM: usize = BLOCK - TAIL;
/// Bytes of the entries `.` and `..`.
const DOTS: usize = 2 * 12;

/// The layout of a directory's entries.
pub(super) enum Directory {
    /// One block.
    Block,
    /// Several blocks and an index.
    Index(Index),
}

impl Directory {
    pub(super) fn new(fs: &ContainerFs, directory: InodeId, hasher: &NameHasher) -> Result<Self, TooManyEntries> {
        let length: usize = children(fs, directory, 0).map(|entry| length_of(entry.name)).sum();
        if DOTS + length <= ROOM {
            return Ok(Self::Block);
        }
        Index::new(children(fs, directory, 0), hasher).map(Self::Index)
    }

    pub(super) fn is_indexed(&self) -> bool {
        matches!(self, Self::Index(_))
    }

    /// Returns the number of blocks of the directory.
    pub(super) fn blocks(&self) -> u64 {
        match self {
            Self::Block => 1,
            Self::Index(index) => index.blocks(),
        }
    }

    /// Calls `write` for each block in order. `seed` is the seed of the directory's inode.
    pub(super) fn write<E>(
        &self,
        fs: &ContainerFs,
        directory: InodeId,
        parent: InodeId,
        seed: Seed,
        mut write: impl FnMut(&[u8; BLOCK]) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Block => {
                let mut block = EntryBlock::new();
                block.push(b".", number_of(directory), InodeKind::Directory);
                block.push(b"..", number_of(parent), InodeKind::Directory);
                for entry in children(fs, directory, 0) {
                    block.push(entry.name, number_of(entry.ino), entry.kind);
                }
                write(block.finish(seed))
            }
            Self::Index(index) => {
                index.write_index(number_of(directory), number_of(parent), seed, &mut write)?;
                index.leaves().try_for_each(|leaf| {
                    let mut block = EntryBlock::new();
                    for position in leaf {
                        let entry = children(fs, directory, position.into()).next();
                        let entry = entry.expect("the index has the positions of entries");
                        block.push(entry.name, number_of(entry.ino), entry.kind);
                    }
                    write(block.finish(seed))
                })
            }
        }
    }
}

/// Returns the entries of a directory from `cookie` on. `directory` must be a directory.
pub(super) fn children(fs: &ContainerFs, directory: InodeId, cookie: u64) -> impl Iterator<Item = DirEntry<'_>> {
    fs.readdir(directory, cookie).into_iter().flatten()
}

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
struct EntryBlock {
    bytes: Box<[u8; BLOCK]>,
    /// Offset of the last entry, and of the next one.
    last: usize,
    at: usize,
}

impl EntryBlock {
    fn new() -> Self {
        Self { bytes: Box::new([0; BLOCK]), last: 0, at: 0 }
    }

    fn push(&mut self, name: &[u8], inode: u32, kind: InodeKind) {
        let length = length_of(name);
        let place = &mut self.bytes[self.at..self.at + length];
        place[..8].copy_from_slice(&entry_header(inode, length, name.len(), kind));
        place[8..8 + name.len()].copy_from_slice(name);
        self.last = self.at;
        self.at += length;
    }

    /// Extends the last entry to the end of the block and adds the checksum (`struct ext4_dir_entry_tail`).
    fn finish(&mut self, seed: Seed) -> &[u8; BLOCK] {
        let length = (ROOM - self.last) as u16;
        self.bytes[self.last + 4..self.last + 6].copy_from_slice(&length.to_le_bytes());
        let checksum = seed.with(&self.bytes[..ROOM]).value();
        self.bytes[ROOM + 4] = TAIL as u8;
        self.bytes[ROOM + 7] = 0xde;
        self.bytes[ROOM + 8..].copy_from_slice(&checksum.to_le_bytes());
        &self.bytes
    }
}
