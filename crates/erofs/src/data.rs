//! The addresses of file contents.

use vmroot_output::{Run, Runs};

use super::format::{BLOCK, check_blocks};
use super::plan::Plan;
use crate::Result;

/// The blocks of all files, with their addresses.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) runs: Runs,
    /// Bytes of the files, including holes.
    pub(crate) bytes: u64,
    /// The first block after the files.
    pub(crate) end: u32,
}

impl Data {
    /// Gives every file an address after the metadata.
    pub(crate) fn place(plan: &mut Plan<'_>) -> Result<Self> {
        let mut data = Self { runs: Runs::default(), bytes: 0, end: check_blocks(plan.end)? };
        for (ino, extent) in plan.fs.files_in_order() {
            let placed = &mut plan.inodes[ino.0 as usize];
            if placed.blocks() == 0 {
                continue;
            }
            placed.layout.set_block(data.end.into())?;
            let (to, length) = (u64::from(data.end) * BLOCK, placed.blocks() * BLOCK);
            data.end = check_blocks(u64::from(data.end) + placed.blocks())?;
            data.bytes += length;
            data.runs.push(Run { file: extent.file, from: extent.offset, to, length });
        }
        Ok(data)
    }
}
