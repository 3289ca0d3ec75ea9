//! Directories, read from the first block to the last.
//!
//! Index blocks of a hash tree look like blocks with one unused entry to this reader, so it needs no index.

use super::features::inode_flags;
use super::volume::{u16_at, u32_at};
use super::{Ext4Reader, Inode, ReadAt, ReadError, ReadResult};

/// The most entries of a directory. They are in memory while the directory is read.
const DIRECTORY_ENTRIES_LIMIT: usize = 4_000_000;
/// The most bytes of a directory that are read.
const DIRECTORY_SIZE_LIMIT: u64 = 2 << 30;
/// Bytes of an entry's fields before its name.
const HEADER: usize = 8;
/// Bytes of the entry at the end of a block that holds the checksum.
const TAIL: usize = 12;
/// `file_type` of that entry.
const TAIL_TYPE: u8 = 0xde;
/// The longest name in bytes.
const MAX_NAME: usize = 255;
/// Bytes of an inline directory before its entries: the number of its parent.
const INLINE_PARENT: usize = 4;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name: 1 to 255 bytes without zero and slash. Never `.` or `..`.
    pub name: Vec<u8>,
    /// The number of its inode.
    pub inode: u32,
}

impl<R: ReadAt> Ext4Reader<R> {
    /// Returns the entries of a directory, sorted by name.
    ///
    /// # Errors
    /// - [`ReadError::Damaged`]: the inode is not a directory, or an entry or a checksum is invalid.
    /// - [`ReadError::Unsupported`]: the directory is encrypted.
    /// - [`ReadError::Limit`]: the directory has too many entries.
    /// - [`ReadError::Io`]: the disk cannot be read.
    pub fn read_directory(&self, directory: &Inode) -> ReadResult<Vec<DirectoryEntry>> {
        if !directory.is_directory() {
            return Err(ReadError::damaged(format!("inode {} is not a directory", directory.number())));
        }
        directory.refuse_encrypted()?;
        if let Some(entries) = self.fast.entries(directory.number()) {
            return Ok(entries);
        }
        let mut list = List { directory, inodes: self.volume.inodes, entries: Vec::new(), first: self.first_inode() };
        if directory.has_flag(inode_flags::INLINE_DATA) {
            list.add_block(&directory.block()[INLINE_PARENT..])?;
            list.add_block(&self.inline_rest(directory)?.unwrap_or_default())?;
        } else {
            self.add_blocks(&mut list)?;
        }
        let List { mut entries, .. } = list;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        if entries.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(ReadError::damaged(format!("directory {} has a name twice", directory.number())));
        }
        Ok(entries)
    }

    fn first_inode(&self) -> u32 {
        self.volume.first_inode
    }

    fn add_blocks(&self, list: &mut List<'_>) -> ReadResult<()> {
        let directory = list.directory;
        let block_size = self.volume.block_size as u64;
        let mut file = self.open_file(directory)?;
        let mut block = vec![0; self.volume.block_size];
        let mut position = 0;
        let end = directory.size() / block_size * block_size;
        let mut length = 0;
        while let Some(data) = file.next_data(position..end)? {
            length += data.end - data.start;
            if length > DIRECTORY_SIZE_LIMIT {
                let what = list.damaged("too many blocks").to_string();
                return Err(ReadError::Limit { what, limit: "DIRECTORY_SIZE_LIMIT" });
            }
            for offset in (data.start..data.end).step_by(block.len()) {
                file.read_exact_at(&mut block, offset)?;
                self.check_directory_block(directory, &block, offset == 0)?;
                list.add_block(&block)?;
            }
            position = data.end;
        }
        Ok(())
    }

    /// Verifies the checksum of a block of entries or of an index block.
    fn check_directory_block(&self, directory: &Inode, block: &[u8], is_first: bool) -> ReadResult<()> {
        let Some(seed) = self.volume.seed else { return Ok(()) };
        let seed = directory.seed(seed);
        // The whole first block belongs to the index. Other index blocks look like one unused entry.
        let is_index = is_first || u32_at(block, 0) == 0 && entry_length(block, block.len()) == block.len();
        let is_valid = if is_index && directory.has_flag(inode_flags::INDEX) {
            let start = if is_first { 32 } else { 8 };
            let [room, count] = [start, start + 2].map(|at| usize::from(u16_at(block, at)));
            let tail = start + 8 * room;
            let has_room = count <= room && tail + 8 <= block.len();
            has_room && {
                let sum = seed.with(&block[..start + 8 * count]).with(&block[tail..tail + 4]).with(&[0; 4]);
                sum.value() == u32_at(block, tail + 4)
            }
        } else {
            let tail = block.len() - TAIL;
            let has_tail = block[tail..tail + 8] == [0, 0, 0, 0, TAIL as u8, 0, 0, TAIL_TYPE];
            has_tail && seed.with(&block[..tail]).value() == u32_at(block, tail + 8)
        };
        match is_valid {
            true => Ok(()),
            false => {
                Err(ReadError::damaged(format!("a checksum of the directory in inode {} is wrong", directory.number())))
            }
        }
    }
}

/// Collects the entries of a directory.
struct List<'i> {
    directory: &'i Inode,
    /// Number of inodes of the file system.
    inodes: u32,
    /// The first inode that is not reserved.
    first: u32,
    entries: Vec<DirectoryEntry>,
}

impl List<'_> {
    fn damaged(&self, what: &str) -> ReadError {
        ReadError::damaged(format!("the directory in inode {} has {what}", self.directory.number()))
    }

    /// Adds the entries of a block. Their lengths must lead exactly to its end.
    fn add_block(&mut self, block: &[u8]) -> ReadResult<()> {
        let mut at = 0;
        while at < block.len() {
            let entry = &block[at..];
            if entry.len() < HEADER {
                return Err(self.damaged("bytes after its last entry"));
            }
            let (inode, length, name) = (u32_at(entry, 0), entry_length(entry, block.len()), usize::from(entry[6]));
            if length < HEADER || length % 4 != 0 || length > entry.len() || HEADER + name > length {
                return Err(self.damaged("an entry of an invalid length"));
            }
            let name = &entry[HEADER..HEADER + name];
            if inode != 0 && name != b"." && name != b".." {
                self.add(name, inode)?;
            }
            at += length;
        }
        Ok(())
    }

    fn add(&mut self, name: &[u8], inode: u32) -> ReadResult<()> {
        let is_name = (1..=MAX_NAME).contains(&name.len()) && !name.iter().any(|byte| matches!(byte, 0 | b'/'));
        if !is_name {
            return Err(self.damaged("an invalid name"));
        }
        if inode < self.first || inode > self.inodes {
            return Err(self.damaged(&format!("an entry for inode {inode}, which cannot have a name")));
        }
        if self.entries.len() == DIRECTORY_ENTRIES_LIMIT {
            return Err(ReadError::Limit {
                what: self.damaged("too many entries").to_string(),
                limit: "DIRECTORY_ENTRIES_LIMIT",
            });
        }
        self.entries.push(DirectoryEntry { name: name.to_vec(), inode });
        Ok(())
    }
}

/// Decodes the length of an entry. Blocks of 64 KiB need more than 16 bits.
fn entry_length(entry: &[u8], block: usize) -> usize {
    match usize::from(u16_at(entry, 4)) {
        0 | 65_535 if block == 1 << 16 => block,
        length if block == 1 << 16 => length & 65_532 | (length & 3) << 16,
        length => length,
    }
}
