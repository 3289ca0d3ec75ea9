//! Fast commits: changes of single inodes and names after the last transaction.

use std::collections::{BTreeMap, HashMap};

use super::Pieces;
use crate::read::{BlockRun, DirectoryEntry, Ext4Reader, ReadAt, ReadError, ReadResult};

/// The changes of fast commits, which are newer than the blocks of the disk.
#[derive(Debug, Default)]
pub(crate) struct FastChanges {
    /// The bytes of inodes.
    inodes: HashMap<u32, Vec<u8>>,
    /// The extents of inodes, without holes.
    runs: HashMap<u32, Vec<BlockRun>>,
    /// The names of directories: the inode of each, or `None` for a name that was removed.
    names: HashMap<u32, BTreeMap<Vec<u8>, Option<u32>>>,
}

impl FastChanges {
    /// Reads the fast commits after transaction `end - 1`.
    pub(super) fn read<R: ReadAt>(reader: &Ext4Reader<R>, pieces: &Pieces, end: u32) -> ReadResult<Self> {
        match has_fast_commits(reader, pieces, end)? {
            false => Ok(Self::default()),
            true => Err(ReadError::Unsupported(
                "the journal has fast commits: mount the file system once, or let e2fsck replay it".to_owned(),
            )),
        }
    }

    /// Returns the bytes of a changed inode.
    pub(crate) fn inode(&self, number: u32) -> Option<&[u8]> {
        self.inodes.get(&number).map(Vec::as_slice)
    }

    /// Returns the extents of a changed inode.
    pub(crate) fn runs(&self, number: u32) -> Option<&[BlockRun]> {
        self.runs.get(&number).map(Vec::as_slice)
    }

    /// Changes the entries of a directory.
    pub(crate) fn change_directory(&self, number: u32, entries: &mut Vec<DirectoryEntry>) {
        let Some(names) = self.names.get(&number) else { return };
        entries.retain(|entry| !names.contains_key(&entry.name));
        let added =
            names.iter().filter_map(|(name, inode)| Some(DirectoryEntry { name: name.clone(), inode: (*inode)? }));
        entries.extend(added);
    }
}

/// The tag at the start of the area, if it was used after the last transaction.
const HEAD: u16 = 9;

/// Returns whether there are fast commits after transaction `end - 1`.
pub(super) fn has_fast_commits<R: ReadAt>(reader: &Ext4Reader<R>, pieces: &Pieces, end: u32) -> ReadResult<bool> {
    let Some(area) = &pieces.superblock.fast else { return Ok(false) };
    let block = pieces.read(reader, area.start)?;
    let tag = u16::from_le_bytes([block[0], block[1]]);
    let number = u32::from_le_bytes([block[8], block[9], block[10], block[11]]);
    Ok(tag == HEAD && number == end)
}
