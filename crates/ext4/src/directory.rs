//! Directories: one block of entries, or several with an index.

use vmroot_container_fs::{ContainerFs, DirEntry, InodeId, InodeKind};

use super::checksum::Seed;
use super::entry::{EntryBlock, ROOM, length_of};
use super::format::BLOCK;
use super::hash::NameHasher;
use super::htree::{Index, TooManyEntries};
use super::inode::number_of;

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
