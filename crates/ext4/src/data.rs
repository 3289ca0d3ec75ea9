//! The places of file contents.

use vmroot_output::{Run, Runs};

use super::content::Content;
use super::extents::Mapping;
use super::format::BLOCK;
use super::layout::Layout;
use super::space::Space;

/// Returns the runs of bytes to move from contents files to the file system.
pub(super) fn runs(content: &Content<'_>, layout: &Layout) -> Runs {
    let bytes = |blocks: u64| blocks * BLOCK as u64;
    let mut runs = Runs::default();
    for &(ino, extent) in &content.files {
        let mut space = Space::at(&layout.geometry, layout.placement.inodes[ino.0 as usize]);
        let mapped = Mapping::allocate(&mut space, content.data_runs(ino, extent).iter().cloned());
        for piece in &mapped.extents {
            let from = extent.offset + bytes(piece.logical);
            runs.push(Run { file: extent.file, from, to: bytes(piece.physical), length: bytes(piece.length) });
        }
    }
    runs
}
