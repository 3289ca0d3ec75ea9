//! Metadata blocks: the compressed blocks with inodes, directories and tables.

use std::sync::Arc;

use super::{KEPT_BLOCKS, METADATA_BLOCK, Squashfs};
use crate::Result;

/// The bit of a metadata block's header that marks it as not compressed.
const UNCOMPRESSED: u16 = 1 << 15;

/// A position in a sequence of metadata blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// The offset in the file of the block.
    block: u64,
    /// The offset in the decompressed block.
    offset: usize,
}

impl Cursor {
    pub(super) fn new(block: u64, offset: usize) -> Self {
        Self { block, offset }
    }
}

impl Squashfs {
    /// Converts a reference: the offset of a block from the start of its table, and an offset in the block.
    pub(super) fn cursor(&self, table: u64, reference: u64) -> Result<Cursor> {
        let block = table.checked_add(reference >> 16).ok_or_else(|| self.broken("has an invalid reference"))?;
        Ok(Cursor::new(block, (reference & 0xffff) as usize))
    }

    /// Reads the next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self, cursor: &mut Cursor) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(cursor, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u16(&mut self, cursor: &mut Cursor) -> Result<u16> {
        self.take(cursor).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, cursor: &mut Cursor) -> Result<u32> {
        self.take(cursor).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, cursor: &mut Cursor) -> Result<u64> {
        self.take(cursor).map(u64::from_le_bytes)
    }

    /// Reads the next bytes. They may be in several blocks.
    pub(super) fn fill(&mut self, cursor: &mut Cursor, out: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            let (block, next) = self.block(cursor.block)?;
            let Some(rest) = block.get(cursor.offset..).filter(|rest| !rest.is_empty()) else {
                // Only a full block has a successor.
                if cursor.offset != METADATA_BLOCK || block.len() != METADATA_BLOCK {
                    return Err(self.broken("has a record past the end of its table"));
                }
                *cursor = Cursor::new(next, 0);
                continue;
            };
            let len = rest.len().min(out.len() - filled);
            out[filled..filled + len].copy_from_slice(&rest[..len]);
            filled += len;
            cursor.offset += len;
        }
        Ok(())
    }

    /// Returns a block, and the offset of the next one.
    fn block(&mut self, offset: u64) -> Result<(Arc<[u8]>, u64)> {
        if let Some((block, next)) = self.metadata.get(&offset) {
            return Ok((Arc::clone(block), *next));
        }
        let header = u16::from_le_bytes(self.bytes_at(offset, 2)?.try_into().unwrap_or_default());
        let len = usize::from(header & !UNCOMPRESSED);
        if len == 0 || len > METADATA_BLOCK {
            return Err(self.broken(format!("has a metadata block of {len} bytes")));
        }
        let stored = self.bytes_at(offset + 2, len)?;
        let block = if header & UNCOMPRESSED == 0 { self.decompress(&stored, METADATA_BLOCK)? } else { stored };
        let next = offset + 2 + len as u64;
        if self.metadata.len() >= KEPT_BLOCKS {
            self.metadata.clear();
        }
        let block: Arc<[u8]> = block.into();
        self.metadata.insert(offset, (Arc::clone(&block), next));
        Ok((block, next))
    }
}
