//! Writing `.contents`: files on block boundaries, blocks of zeros as holes.

use std::fs::File;
use std::path::{Path, PathBuf};

use vmroot_output::BlockWriter;

use crate::{Error, Result};

/// Writes file contents one after the other, each from the next block boundary on.
pub(super) struct ContentsWriter {
    blocks: BlockWriter,
    path: PathBuf,
}

impl ContentsWriter {
    pub(super) fn new(file: File, path: &Path) -> Result<Self> {
        let blocks = BlockWriter::new(file, path, 0).map_err(Error::io(path))?;
        Ok(Self { blocks, path: path.to_owned() })
    }

    /// Where the next byte will lie.
    pub(super) fn position(&self) -> u64 {
        self.blocks.position()
    }

    /// Whether so many bytes are not enough for all data so far, in whole blocks.
    pub(super) fn stores_more_than(&mut self, limit: u64) -> Result<bool> {
        if self.blocks.stored() <= limit {
            return Ok(false);
        }
        // There may be blocks of zeros in what is gathered.
        self.blocks.write_blocks().map_err(Error::io(&self.path))?;
        Ok(self.blocks.stored() > limit)
    }

    /// Writes bytes at the current position.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.blocks.append(bytes).map_err(Error::io(&self.path))
    }

    /// Moves forward over zeros without writing them.
    pub(super) fn skip(&mut self, length: u64) -> Result<()> {
        self.blocks.skip(length).map_err(Error::io(&self.path))
    }

    /// Moves to the next block boundary, where the next file begins.
    pub(super) fn end_file(&mut self) -> Result<()> {
        self.blocks.fill_block().map_err(Error::io(&self.path))
    }

    /// Writes what is gathered and sets the file's length; gives the length.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.end_file()?;
        self.blocks.flush().map_err(Error::io(&self.path))?;
        Ok(self.blocks.position())
    }
}
