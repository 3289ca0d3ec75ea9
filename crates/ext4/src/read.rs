//! Reads ext4 file systems that kernels have written.
//!
//! [`Ext4Reader`] reads inodes, directories, xattrs and files of a disk without mounting it. It reads through a
//! [`ReadAt`], which is a file or the view of a disk after its journal was replayed
//! ([`Replayed`](crate::Replayed)). Nothing is written.
//!
//! A disk is untrusted input, because the root user of a guest can write any block of it. Each number is checked where
//! it is used, and each quantity has a limit.

mod directory;
mod error;
mod features;
mod file;
mod group;
mod inode;
mod map;
mod path;
mod source;
mod volume;
mod xattr;

pub use directory::DirectoryEntry;
pub use error::{ReadError, ReadResult};
pub(crate) use features::{incompatible, inode_flags, read_only};
pub use file::FileReader;
pub use inode::Inode;
pub(crate) use map::{BlockRun, Place};
pub use source::ReadAt;
pub(crate) use volume::{SUPERBLOCK_OFFSET, Volume};

use std::sync::Mutex;

use crate::format::{GroupRecord, ROOT_INODE};
use crate::journal_replay::FastChanges;

/// Options of [`Ext4Reader::open`].
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Verify the checksums of the metadata, if the file system has them (`metadata_csum`).
    pub checksums: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { checksums: true }
    }
}

/// A reader of an ext4 file system.
#[derive(Debug)]
pub struct Ext4Reader<R> {
    disk: R,
    volume: Volume,
    /// The group descriptor that was read last, and its group.
    last_group: Mutex<Option<(u64, GroupRecord)>>,
    /// Changes of fast commits, which are newer than the blocks of the disk.
    fast: FastChanges,
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Reads the superblock. The file system must need no replay of its journal:
    /// [`open_replayed`](crate::open_replayed) opens any.
    ///
    /// # Errors
    /// - [`ReadError::NotExt4`]: there is no superblock of ext2, ext3 or ext4.
    /// - [`ReadError::Unsupported`]: the file system has a feature that this reader does not know.
    /// - [`ReadError::NeedsReplay`]: the journal has transactions that are not in their places yet.
    /// - [`ReadError::Damaged`]: the superblock is invalid.
    /// - [`ReadError::Io`]: the disk cannot be read.
    pub fn open(disk: R, options: &ReadOptions) -> ReadResult<Self> {
        let reader = Self::open_dirty(disk, options)?;
        if reader.volume.needs_replay() {
            return Err(ReadError::NeedsReplay);
        }
        Ok(reader)
    }

    /// Reads the superblock of a file system whose journal may need a replay.
    pub(crate) fn open_dirty(disk: R, options: &ReadOptions) -> ReadResult<Self> {
        let volume = Volume::read(&disk, options)?;
        Ok(Self { disk, volume, last_group: Mutex::new(None), fast: FastChanges::default() })
    }

    /// Adds the changes of fast commits.
    pub(crate) fn with_fast_changes(self, fast: FastChanges) -> Self {
        Self { fast, ..self }
    }

    /// Returns the disk.
    pub fn disk(&self) -> &R {
        &self.disk
    }

    pub(crate) fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Returns the size of the file system in bytes.
    pub fn size(&self) -> u64 {
        self.volume.blocks * self.volume.block_size as u64
    }

    /// Returns the UUID of the file system.
    pub fn uuid(&self) -> [u8; 16] {
        self.volume.uuid
    }

    /// Returns the root directory.
    ///
    /// # Errors
    /// The errors of [`Self::inode`], and [`ReadError::Damaged`] if it is not a directory.
    pub fn root(&self) -> ReadResult<Inode> {
        let root = self.inode(ROOT_INODE)?;
        match root.is_directory() {
            true => Ok(root),
            false => Err(ReadError::damaged("the root is not a directory")),
        }
    }

    /// Reads bytes of the disk.
    pub(crate) fn read_bytes(&self, offset: u64, buffer: &mut [u8]) -> ReadResult<()> {
        self.disk.read_exact_at(buffer, offset).map_err(|source| ReadError::Io { offset, source })
    }

    /// Reads a block that belongs to the file system. `what` is the block's use, for messages.
    pub(crate) fn read_block(&self, block: u64, what: &'static str) -> ReadResult<Vec<u8>> {
        self.volume.check_blocks(block, 1, what)?;
        let mut buffer = vec![0; self.volume.block_size];
        self.read_bytes(block * self.volume.block_size as u64, &mut buffer)?;
        Ok(buffer)
    }
}
