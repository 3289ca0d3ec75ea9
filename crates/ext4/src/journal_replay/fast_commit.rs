//! Fast commits: changes of single inodes and names after the last transaction (kernel documentation, "Fast commits").
//!
//! They are a list of tags in an area at the end of the journal. A tag adds or removes a name, replaces the fields of an
//! inode, or changes a range of its extents. [`FastChanges`] applies them in memory, in the order and with the rules of
//! the kernel's own replay, so that the disk reads as after a mount.

mod tags;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use zerocopy::FromBytes;

use super::Pieces;
use crate::format::InodeRecord;
use crate::read::{BlockRun, DirectoryEntry, Ext4Reader, Inode, Place, ReadAt, ReadError, ReadResult, inode_flags};
use tags::{Tag, TaggedName};

/// The most names of all directories, and the most extents of all inodes, that fast commits change.
const FAST_CHANGES_LIMIT: usize = 4_000_000;
/// Offsets in an inode: the links, `i_block`, and `i_generation` after it.
const LINKS: usize = 26;
const BLOCK: usize = 40;
const AFTER_BLOCK: usize = 100;

/// The changes of fast commits, which are newer than the blocks of the disk.
#[derive(Debug, Default)]
pub(crate) struct FastChanges {
    /// The bytes of inodes.
    inodes: HashMap<u32, Vec<u8>>,
    /// The extents of inodes, without holes, in ascending order.
    runs: HashMap<u32, Vec<BlockRun>>,
    /// All names of directories.
    names: HashMap<u32, BTreeMap<Vec<u8>, u32>>,
    /// Number of names and extents.
    size: usize,
}

impl FastChanges {
    /// Returns the bytes of a changed inode.
    pub(crate) fn inode(&self, number: u32) -> Option<&[u8]> {
        self.inodes.get(&number).map(Vec::as_slice)
    }

    /// Returns the extents of a changed inode.
    pub(crate) fn runs(&self, number: u32) -> Option<&[BlockRun]> {
        self.runs.get(&number).map(Vec::as_slice)
    }

    /// Returns the entries of a changed directory.
    pub(crate) fn entries(&self, number: u32) -> Option<Vec<DirectoryEntry>> {
        let names = self.names.get(&number)?;
        Some(names.iter().map(|(name, inode)| DirectoryEntry { name: name.clone(), inode: *inode }).collect())
    }

    /// Reads the fast commits after transaction `end - 1`. `reader` reads the disk after the replay of all transactions.
    pub(super) fn read<R: ReadAt>(reader: &Ext4Reader<R>, pieces: &Pieces, end: u32) -> ReadResult<Self> {
        let mut changes = Self::default();
        for tag in tags::read(reader, pieces, end)? {
            match tag {
                Tag::Link(entry) => changes.link(reader, &entry)?,
                Tag::Create(entry) => changes.create(reader, &entry)?,
                Tag::Unlink(entry) => changes.unlink(reader, &entry)?,
                Tag::Inode(number, bytes) => changes.replace(reader, number, &bytes)?,
                Tag::AddRange(number, run) => changes.change_range(reader, number, run, true)?,
                Tag::RemoveRange(number, run) => changes.change_range(reader, number, run, false)?,
            }
            if changes.size > FAST_CHANGES_LIMIT {
                let what = "fast commits change too many names and extents".to_owned();
                return Err(ReadError::Limit { what, limit: "FAST_CHANGES_LIMIT" });
            }
        }
        Ok(changes)
    }

    /// Returns an inode that can be changed. `None` if there is no valid inode, as the kernel then skips the tag.
    fn current<R: ReadAt>(&self, reader: &Ext4Reader<R>, number: u32) -> Option<Inode> {
        match self.inode(number) {
            Some(bytes) => Inode::decode(number, bytes, reader.volume().incompatible).ok(),
            None => reader.inode(number).ok(),
        }
    }

    fn bytes<R: ReadAt>(&mut self, reader: &Ext4Reader<R>, number: u32) -> ReadResult<&mut Vec<u8>> {
        Ok(match self.inodes.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(reader.inode_bytes(number)?),
        })
    }

    fn set_links<R: ReadAt>(
        &mut self,
        reader: &Ext4Reader<R>,
        number: u32,
        change: impl FnOnce(u16) -> u16,
    ) -> ReadResult<()> {
        let links = &mut self.bytes(reader, number)?[LINKS..LINKS + 2];
        let changed = change(u16::from_le_bytes([links[0], links[1]]));
        links.copy_from_slice(&changed.to_le_bytes());
        Ok(())
    }

    /// Returns the names of a directory. `None` if it is not a directory.
    fn names<R: ReadAt>(
        &mut self,
        reader: &Ext4Reader<R>,
        number: u32,
    ) -> ReadResult<Option<&mut BTreeMap<Vec<u8>, u32>>> {
        if !self.names.contains_key(&number) {
            let Some(directory) = self.current(reader, number).filter(Inode::is_directory) else { return Ok(None) };
            let entries = reader.read_directory(&directory)?;
            self.size += entries.len();
            self.names.insert(number, entries.into_iter().map(|entry| (entry.name, entry.inode)).collect());
        }
        Ok(self.names.get_mut(&number))
    }

    /// Adds a name. A name that exists stays as it is.
    fn link<R: ReadAt>(&mut self, reader: &Ext4Reader<R>, entry: &TaggedName) -> ReadResult<()> {
        if self.current(reader, entry.inode).is_some() && self.add_name(reader, entry)? {
            self.set_links(reader, entry.inode, |links| links.saturating_add(1))?;
        }
        Ok(())
    }

    fn add_name<R: ReadAt>(&mut self, reader: &Ext4Reader<R>, entry: &TaggedName) -> ReadResult<bool> {
        let Some(names) = self.names(reader, entry.parent)? else { return Ok(false) };
        if names.contains_key(&entry.name) {
            return Ok(false);
        }
        names.insert(entry.name.clone(), entry.inode);
        self.size += 1;
        Ok(true)
    }

    /// Adds the first name of a new inode. A new directory is empty.
    fn create<R: ReadAt>(&mut self, reader: &Ext4Reader<R>, entry: &TaggedName) -> ReadResult<()> {
        let Some(inode) = self.current(reader, entry.inode) else { return Ok(()) };
        if inode.is_directory() {
            self.names.insert(entry.inode, BTreeMap::new());
        }
        self.add_name(reader, entry)?;
        match inode.is_directory() {
            true => Ok(()),
            false => self.set_links(reader, entry.inode, |_| 1),
        }
    }

    /// Removes a name, if it is one of the inode.
    fn unlink<R: ReadAt>(&mut self, reader: &Ext4Reader<R>, entry: &TaggedName) -> ReadResult<()> {
        if self.current(reader, entry.inode).is_none() {
            return Ok(());
        }
        let Some(names) = self.names(reader, entry.parent)? else { return Ok(()) };
        if names.get(&entry.name) == Some(&entry.inode) {
            names.remove(&entry.name);
            self.set_links(reader, entry.inode, |links| links.saturating_sub(1))?;
        }
        Ok(())
    }

    /// Replaces the fields of an inode, but not the map of its blocks.
    fn replace<R: ReadAt>(&mut self, reader: &Ext4Reader<R>, number: u32, new: &[u8]) -> ReadResult<()> {
        let bytes = self.bytes(reader, number)?;
        if new.len() < AFTER_BLOCK || new.len() > bytes.len() {
            return Err(ReadError::damaged(format!("a fast commit has an invalid inode {number}")));
        }
        bytes[..BLOCK].copy_from_slice(&new[..BLOCK]);
        bytes[AFTER_BLOCK..new.len()].copy_from_slice(&new[AFTER_BLOCK..]);
        let (fields, _) = InodeRecord::read_from_prefix(&padded(bytes)).expect("the buffer is long enough");
        let flags = fields.flags.get();
        if flags & inode_flags::EXTENTS != 0 {
            // A block map, or the remains of another inode, becomes an empty list of extents.
            if bytes[BLOCK..BLOCK + 2] != 0xf30a_u16.to_le_bytes() {
                bytes[BLOCK..BLOCK + 12].copy_from_slice(&[0x0a, 0xf3, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
            }
        } else if flags & inode_flags::INLINE_DATA != 0 {
            bytes[BLOCK..AFTER_BLOCK].copy_from_slice(&new[BLOCK..AFTER_BLOCK]);
        }
        Ok(())
    }

    /// Removes a range of blocks from the extents of an inode, and adds it again with other places.
    fn change_range<R: ReadAt>(
        &mut self,
        reader: &Ext4Reader<R>,
        number: u32,
        new: BlockRun,
        adds: bool,
    ) -> ReadResult<()> {
        let Some(inode) = self.current(reader, number) else { return Ok(()) };
        if !self.runs.contains_key(&number) {
            let runs = reader.runs(&inode, u64::MAX, FAST_CHANGES_LIMIT)?.unwrap_or_default();
            self.size += runs.len();
            self.runs.insert(number, runs);
        }
        if let Place::Blocks(first) = new.place {
            reader.volume().check_blocks(first, new.count, "a fast commit")?;
        }
        let runs = self.runs.get_mut(&number).expect("it was added above");
        let mut changed: Vec<BlockRun> = runs.iter().flat_map(|run| run.without(&new)).collect();
        if adds && new.place != Place::Zeros {
            let at = changed.partition_point(|run| run.first < new.first);
            changed.insert(at, new);
        }
        self.size += 2;
        *runs = changed;
        Ok(())
    }
}

/// Returns an inode's bytes with zeros up to the size of a record.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().max(size_of::<InodeRecord>()), 0);
    padded
}

/// Returns whether there are fast commits after transaction `end - 1`.
pub(super) fn has_fast_commits<R: ReadAt>(reader: &Ext4Reader<R>, pieces: &Pieces, end: u32) -> ReadResult<bool> {
    Ok(!tags::read(reader, pieces, end)?.is_empty())
}
