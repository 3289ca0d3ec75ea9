//! The contents of files.

use std::sync::Arc;

use super::inode::Contents;
use super::metadata::Cursor;
use super::{Squashfs, UNCOMPRESSED_DATA};
use crate::Result;

/// A position in a file, at the start of a block.
#[derive(Debug)]
pub(in crate::sif) struct FileReader {
    /// The number of bytes left.
    left: u64,
    /// The offset of the next block.
    position: u64,
    sizes: Cursor,
    fragment: Option<(u32, u32)>,
}

/// A piece of a file.
#[derive(Debug)]
pub(in crate::sif) enum Piece {
    Bytes(Vec<u8>),
    /// This many zeros.
    Zeros(usize),
}

impl FileReader {
    pub(in crate::sif) fn new(contents: &Contents) -> Self {
        let Contents { size, start, fragment, sizes } = *contents;
        Self { left: size, position: start, sizes, fragment }
    }
}

impl Squashfs {
    /// Reads the next block of a file. Returns `None` at the end.
    pub(in crate::sif) fn next_piece(&mut self, file: &mut FileReader) -> Result<Option<Piece>> {
        let block_size = self.block_size as usize;
        // At most a block, so it fits.
        let wanted = file.left.min(block_size as u64) as usize;
        if wanted == 0 {
            return Ok(None);
        }
        file.left -= wanted as u64;
        if let Some((index, offset)) = file.fragment.filter(|_| wanted < block_size) {
            return Ok(Some(Piece::Bytes(self.read_fragment(index, offset as usize, wanted)?)));
        }
        let word = self.u32(&mut file.sizes)?;
        let stored = word & !UNCOMPRESSED_DATA;
        if stored == 0 {
            return Ok(Some(Piece::Zeros(wanted)));
        }
        let bytes = self.data_block(file.position, word, block_size)?;
        let next = file.position.checked_add(u64::from(stored));
        file.position = next.ok_or_else(|| self.broken("has a file past its end"))?;
        if bytes.len() != wanted {
            return Err(self.broken(format!("has a block of {} bytes, which should have {wanted}", bytes.len())));
        }
        Ok(Some(Piece::Bytes(bytes)))
    }

    fn read_fragment(&mut self, index: u32, offset: usize, len: usize) -> Result<Vec<u8>> {
        let (start, word) = self.fragment(index)?;
        let block = match &self.fragment {
            Some((at, block)) if *at == start => Arc::clone(block),
            _ => {
                let block: Arc<[u8]> = self.data_block(start, word, self.block_size as usize)?.into();
                self.fragment = Some((start, Arc::clone(&block)));
                block
            }
        };
        let end = offset.checked_add(len);
        let bytes = end.and_then(|end| block.get(offset..end));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| self.broken("has a file past the end of its fragment"))
    }
}
