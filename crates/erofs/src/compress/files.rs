//! Segments of files, and the places of the compressed files.

use std::collections::HashMap;

use vmroot_container_fs::InodeId;

use super::extent::{Extent, Extents};
use super::indexes::{self, Scheme};
use crate::Result;
use crate::format::{BLOCK, check_blocks};

/// Files are divided into segments of this many bytes, which are compressed independently. Each segment wastes half a
/// block at its end on average, which is little in comparison.
pub(crate) const SEGMENT_BYTES: u64 = 2 << 20;

/// A segment of a file, or a whole small file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) ino: InodeId,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Whether this is the file's last segment.
    pub(super) is_last: bool,
    /// Whether the part that does not fill a block can follow the inode if the file is stored uncompressed.
    pub(super) inline: bool,
}

impl Segment {
    /// Returns whether the extents and their indexes take less room than the uncompressed bytes.
    pub(crate) fn is_smaller(&self, extents: &Extents) -> bool {
        let plain = if self.inline { self.length } else { self.length.next_multiple_of(BLOCK) };
        // The size of the inode would change this by a few bytes only.
        extents.blocks.len() as u64 + indexes::size(0, self.length) < plain
    }
}

/// The places of file contents in an image.
#[derive(Debug)]
pub(crate) struct StoredFiles {
    pub(crate) scheme: Scheme,
    files: HashMap<InodeId, StoredFile>,
    /// The file whose segments are still being pushed.
    current: StoredFile,
    /// The first block after the stored files.
    pub(crate) end: u32,
}

/// The place of a file's contents.
#[derive(Debug, Default)]
pub(crate) struct StoredFile {
    /// The first block.
    pub(crate) block: u32,
    /// The number of blocks.
    pub(crate) blocks: u32,
    /// The extents in the blocks; empty if the blocks hold the file uncompressed.
    pub(crate) extents: Vec<Extent>,
}

impl StoredFile {
    /// Returns whether the blocks must be decoded.
    pub(crate) fn is_compressed(&self) -> bool {
        !self.extents.is_empty()
    }
}

impl StoredFiles {
    /// Creates an empty list of files that will be stored from block `start` on.
    pub(crate) fn new(scheme: Scheme, start: u32) -> Self {
        Self { scheme, files: HashMap::new(), current: StoredFile::default(), end: start }
    }

    /// Returns the file with this inode, if it has blocks.
    pub(crate) fn get(&self, ino: InodeId) -> Option<&StoredFile> {
        self.files.get(&ino)
    }

    /// Records the next segment. Returns the blocks that the caller must write at the previous [`Self::end`].
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) if block numbers exceed 32 bits.
    pub(crate) fn push<'e>(&mut self, segment: &Segment, extents: &'e Extents) -> Result<&'e [u8]> {
        if segment.offset == 0 {
            self.current = StoredFile { block: self.end, ..StoredFile::default() };
        }
        let file = &mut self.current;
        for extent in &extents.extents {
            // Plain blocks are joined to one extent so that a long plain file does not need memory for each block.
            let rest = file.extents.last_mut().map_or(Some(*extent), |last| last.extend(*extent));
            file.extents.extend(rest);
        }
        let mut blocks = &extents.blocks[..];
        if segment.is_last && file.extents.iter().all(|extent| extent.is_plain()) {
            file.extents = Vec::new();
            if segment.inline {
                blocks = &blocks[..(segment.length - segment.length % BLOCK) as usize];
            }
        }
        self.end = check_blocks(u64::from(self.end) + blocks.len() as u64 / BLOCK)?;
        file.blocks = self.end - file.block;
        if segment.is_last {
            file.extents.shrink_to_fit();
            self.files.insert(segment.ino, std::mem::take(file));
        }
        Ok(blocks)
    }
}
