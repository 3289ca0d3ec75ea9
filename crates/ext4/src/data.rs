//! The contents of files: which of their blocks go where.

use vmroot_output::{Run, Runs};

use super::content::Content;
use super::extents::Mapping;
use super::fit::Fit;
use super::format::BLOCK;
use super::space::Space;

/// All that is to be moved.
pub(super) fn runs(content: &Content<'_>, fit: &Fit) -> Runs {
    let bytes = |blocks: u64| blocks * BLOCK as u64;
    let mut runs = Runs::default();
    for &(ino, extent) in &content.files {
        let mut space = Space::at(&fit.geometry, fit.placement.inodes[ino.0 as usize]);
        let mapped = Mapping::take(&mut space, content.data_runs(ino, extent).iter().cloned());
        for piece in &mapped.extents {
            let from = extent.offset + bytes(piece.logical);
            runs.push(Run { file: extent.file, from, to: bytes(piece.physical), length: bytes(piece.length) });
        }
    }
    runs
}
