//! Writing `.contents`. Files begin on block boundaries, and blocks of zeros become holes.

use std::fs::File;
use std::path::{Path, PathBuf};

use vmroot_output::BlockWriter;

use crate::{Error, Result};

/// Writes file contents one after the other, each from a block boundary on.
pub(super) struct ContentsWriter {
    blocks: BlockWriter,
    path: PathBuf,
}

impl ContentsWriter {
    pub(super) fn new(file: File, path: &Path) -> Result<Self> {
        let blocks = BlockWriter::new(file, path, 0).map_err(Error::io(path))?;
        Ok(Self { blocks, path: path.to_owned() })
    }

    /// Returns the offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.blocks.position()
    }

    /// Returns whether the data so far takes more than `limit` bytes, in whole blocks.
    pub(super) fn stores_more_than(&mut self, limit: u64) -> Result<bool> {
        if self.blocks.stored() <= limit {
            return Ok(false);
        }
        // The buffered data may have blocks of zeros, which are only found when it is written.
        self.blocks.write_blocks().map_err(Error::io(&self.path))?;
        Ok(self.blocks.stored() > limit)
    }

    /// Writes bytes at the current position.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.blocks.append(bytes).map_err(Error::io(&self.path))
    }

    /// Moves forward over zeros, without writing them.
    pub(super) fn skip(&mut self, length: u64) -> Result<()> {
        self.blocks.skip(length).map_err(Error::io(&self.path))
    }

    /// Moves to the next block boundary for the next file.
    pub(super) fn end_file(&mut self) -> Result<()> {
        self.blocks.fill_block().map_err(Error::io(&self.path))
    }

    /// Writes the buffered data, sets the length of the file, and returns it.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.end_file()?;
        self.blocks.flush().map_err(Error::io(&self.path))?;
        Ok(self.blocks.position())
    }
}
