//! Blocks on their way to the file: those that lie behind each other are written at once.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::format::BLOCK;
use crate::{Error, Result};

/// Written at once.
const GATHERED: usize = 256 << 10;

/// Gathers what is written in order.
pub(super) struct Output<'f> {
    file: &'f File,
    /// Bytes not written yet, and where they belong.
    gathered: Vec<u8>,
    at: u64,
}

impl<'f> Output<'f> {
    pub(super) fn new(file: &'f File) -> Self {
        Self { file, gathered: Vec::new(), at: 0 }
    }

    /// Writes bytes from the beginning of a block on.
    pub(super) fn block(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        self.bytes(block * BLOCK as u64, bytes)
    }

    /// Writes bytes at an offset.
    pub(super) fn bytes(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset != self.at + self.gathered.len() as u64 || self.gathered.len() >= GATHERED {
            self.flush()?;
            self.at = offset;
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is gathered.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.gathered, self.at).map_err(Error::Write)?;
        self.gathered.clear();
        Ok(())
    }
}
