//! Writes blocks to the file, and combines consecutive ones to long writes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::format::BLOCK;
use crate::{Error, Result};

/// Bytes that are buffered before they are written.
const MAX_BUFFERED: usize = 256 << 10;

/// Buffers consecutive writes.
pub(super) struct Output<'f> {
    file: &'f File,
    /// Bytes that are not written yet, and their offset in the file.
    buffered: Vec<u8>,
    offset: u64,
}

impl<'f> Output<'f> {
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, buffered: Vec::new(), offset: 0 }
    }

    /// Writes bytes at the start of a block.
    pub(super) fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        self.write_bytes(block * BLOCK as u64, bytes)
    }

    /// Writes bytes at an offset.
    pub(super) fn write_bytes(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset != self.offset + self.buffered.len() as u64 || self.buffered.len() >= MAX_BUFFERED {
            self.flush()?;
            self.offset = offset;
        }
        self.buffered.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes the buffered bytes.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffered, self.offset).map_err(Error::Write)?;
        self.buffered.clear();
        Ok(())
    }
}
