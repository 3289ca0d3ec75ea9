//! Which files are compressed, piece by piece, and where they are stored.

use std::collections::HashMap;

use vmroot_container_fs::InodeId;

use super::extent::{Extent, Extents};
use super::indexes::{self, Scheme};
use crate::Result;
use crate::format::BLOCK;
use crate::plan::{Layout, Plan, check_blocks};

/// Files are cut into segments of so many bytes, each compressed for itself: enough that half a block, which is lost at
/// the end of each, is little.
pub(crate) const SEGMENT: u64 = 2 << 20;
/// A job has at least so many bytes, if there are.
const JOB: u64 = 1 << 20;

/// A segment of a file, or the whole of a small one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) ino: InodeId,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Whether the file ends with it.
    is_last: bool,
    /// Whether what does not fill a block can follow the inode, if the file is stored as it is.
    inline: bool,
}

impl Piece {
    /// Whether the extents take less of an image than the bytes themselves do.
    pub(crate) fn is_smaller(&self, extents: &Extents) -> bool {
        let plain = if self.inline { self.length } else { self.length.next_multiple_of(BLOCK) };
        // Where the inode ends makes a difference of some bytes.
        extents.blocks.len() as u64 + indexes::size(0, self.length) < plain
    }
}

/// Hands out pieces of files, in the order in which they are in contents files.
pub(crate) struct Jobs {
    /// Inode, size, and whether the end may follow the inode.
    files: std::vec::IntoIter<(InodeId, u64, bool)>,
    next: Option<Piece>,
    size: u64,
}

impl Jobs {
    /// Of all files that have more than what follows their inodes.
    pub(crate) fn of(plan: &Plan<'_>) -> Self {
        let files = plan.fs.files_in_order().into_iter().filter_map(|(ino, _)| {
            let placed = &plan.inodes[ino.0 as usize];
            (placed.blocks() > 0).then_some((ino, placed.size, matches!(placed.layout, Layout::Inline { .. })))
        });
        let files: Vec<_> = files.collect();
        Self { files: files.into_iter(), next: None, size: 0 }
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.as_slice().iter().map(|(_, size, _)| size).sum()
    }

    fn next_piece(&mut self) -> Option<Piece> {
        let piece = match self.next.take() {
            Some(piece) => piece,
            None => {
                let (ino, size, inline) = self.files.next()?;
                self.size = size;
                Piece { ino, offset: 0, length: size.min(SEGMENT), is_last: size <= SEGMENT, inline }
            }
        };
        if !piece.is_last {
            let offset = piece.offset + piece.length;
            let length = (self.size - offset).min(SEGMENT);
            self.next = Some(Piece { offset, length, is_last: offset + length == self.size, ..piece });
        }
        Some(piece)
    }
}

impl Iterator for Jobs {
    type Item = Vec<Piece>;

    fn next(&mut self) -> Option<Vec<Piece>> {
        let (mut pieces, mut length) = (Vec::new(), 0);
        while length < JOB
            && let Some(piece) = self.next_piece()
        {
            length += piece.length;
            pieces.push(piece);
        }
        (!pieces.is_empty()).then_some(pieces)
    }
}

/// Where the contents of files are in an image.
#[derive(Debug)]
pub(crate) struct StoredFiles {
    pub(crate) scheme: Scheme,
    files: HashMap<InodeId, StoredFile>,
    /// The file of which pieces are still to come.
    begun: StoredFile,
    /// The first block behind them.
    pub(crate) end: u32,
}

/// Where the contents of a file are.
#[derive(Debug, Default)]
pub(crate) struct StoredFile {
    /// The first block.
    pub(crate) block: u32,
    /// How many blocks.
    pub(crate) blocks: u32,
    /// What the blocks hold; nothing when that is the file as it is.
    pub(crate) extents: Vec<Extent>,
}

impl StoredFile {
    /// Whether it has to be decoded.
    pub(crate) fn is_compressed(&self) -> bool {
        !self.extents.is_empty()
    }
}

impl StoredFiles {
    /// None yet; they will be from `start` on.
    pub(crate) fn new(scheme: Scheme, start: u32) -> Self {
        Self { scheme, files: HashMap::new(), begun: StoredFile::default(), end: start }
    }

    /// The file, if it has blocks.
    pub(crate) fn get(&self, ino: InodeId) -> Option<&StoredFile> {
        self.files.get(&ino)
    }

    /// Stores the next piece; gives the blocks that are to be written at [`Self::end`] as it was.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge).
    pub(crate) fn push<'e>(&mut self, piece: &Piece, extents: &'e Extents) -> Result<&'e [u8]> {
        if piece.offset == 0 {
            self.begun = StoredFile { block: self.end, ..StoredFile::default() };
        }
        let file = &mut self.begun;
        for extent in &extents.extents {
            // A long file of plain blocks must not take memory for each.
            let rest = file.extents.last_mut().map_or(Some(*extent), |last| last.extend(*extent));
            file.extents.extend(rest);
        }
        let mut blocks = &extents.blocks[..];
        if piece.is_last && file.extents.iter().all(|extent| extent.is_plain()) {
            file.extents = Vec::new();
            if piece.inline {
                blocks = &blocks[..(piece.length - piece.length % BLOCK) as usize];
            }
        }
        self.end = check_blocks(u64::from(self.end) + blocks.len() as u64 / BLOCK)?;
        file.blocks = self.end - file.block;
        if piece.is_last {
            file.extents.shrink_to_fit();
            self.files.insert(piece.ino, std::mem::take(file));
        }
        Ok(blocks)
    }
}
