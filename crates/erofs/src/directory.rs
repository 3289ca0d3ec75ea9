//! Directory blocks: entries sorted by name, then the names.

use std::iter::Peekable;

use vmroot_container_fs::{ContainerFs, InodeId, InodeKind};
use zerocopy::IntoBytes;

use super::format::{BLOCK, Dirent};

const ENTRY: usize = size_of::<Dirent>();

/// An entry of a directory.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) ino: InodeId,
    pub(crate) kind: InodeKind,
}

/// The size of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectorySize {
    /// Blocks before the last one.
    pub(crate) full: u64,
    /// Bytes of the last block, 1 to 4096.
    pub(crate) last: u64,
}

impl DirectorySize {
    pub(crate) fn of(fs: &ContainerFs, directory: InodeId) -> Self {
        // The target of `..` does not change the size.
        let mut blocks = DirectoryBlocks::new(fs, directory, directory);
        let mut size = Self { full: 0, last: blocks.next_block().unwrap_or_default() as u64 };
        while let Some(used) = blocks.next_block() {
            size = Self { full: size.full + 1, last: used as u64 };
        }
        size
    }

    /// Returns the size in bytes.
    pub(crate) fn bytes(self) -> u64 {
        self.full * BLOCK + self.last
    }
}

/// Iterates over a directory block by block.
pub(crate) struct DirectoryBlocks<'a> {
    entries: Peekable<Box<dyn Iterator<Item = Entry<'a>> + 'a>>,
    block: Vec<Entry<'a>>,
}

impl<'a> DirectoryBlocks<'a> {
    pub(crate) fn new(fs: &'a ContainerFs, directory: InodeId, parent: InodeId) -> Self {
        Self { entries: entries(fs, directory, parent).peekable(), block: Vec::new() }
    }

    /// Advances to the next block and returns the number of its used bytes; `None` after the last.
    pub(crate) fn next_block(&mut self) -> Option<usize> {
        self.block.clear();
        let mut used = 0;
        while let Some(entry) = self.entries.next_if(|entry| used + ENTRY + entry.name.len() <= BLOCK as usize) {
            used += ENTRY + entry.name.len();
            self.block.push(entry);
        }
        (used > 0).then_some(used)
    }

    /// Writes the current block, the one that [`Self::next_block`] advanced to.
    pub(crate) fn write(&self, nid_of: impl Fn(InodeId) -> u64, bytes: &mut Vec<u8>) {
        let mut name_offset = ENTRY * self.block.len();
        for entry in &self.block {
            let dirent = Dirent {
                nid: nid_of(entry.ino).into(),
                name_offset: (name_offset as u16).into(),
                kind: entry.kind.file_type(),
                reserved: 0,
            };
            bytes.extend_from_slice(dirent.as_bytes());
            name_offset += entry.name.len();
        }
        for entry in &self.block {
            bytes.extend_from_slice(entry.name);
        }
    }
}

/// Returns the entries sorted by the bytes of their names, including `.` and `..`, because the kernel finds names by
/// binary search.
fn entries<'a>(fs: &'a ContainerFs, directory: InodeId, parent: InodeId) -> Box<dyn Iterator<Item = Entry<'a>> + 'a> {
    let own = |name: &'static [u8], ino| Entry { name, ino, kind: InodeKind::Directory };
    let mut dots = [own(b".", directory), own(b"..", parent)].into_iter().peekable();
    let children = fs.readdir(directory, 0).into_iter().flatten();
    let mut children = children.map(|entry| Entry { name: entry.name, ino: entry.ino, kind: entry.kind }).peekable();
    Box::new(std::iter::from_fn(move || match children.peek() {
        Some(child) => dots.next_if(|dot| dot.name < child.name).or_else(|| children.next()),
        None => dots.next(),
    }))
}
