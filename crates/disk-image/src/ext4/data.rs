//! Moving the contents of files: what lies together in both files moves at once.
//!
//! Contents lie in whole blocks, zeros behind the end of a file, so that neighbours there are neighbours here.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};

use vmroot_container_fs::Extent;
use vmroot_export::{Copier, Counter, Hook, LastHoles, Meter};

use super::content::{Content, unreadable};
use super::extents::Mapping;
use super::fit::Fit;
use super::format::BLOCK;
use super::space::Space;
use crate::{Error, Result};

/// Moves the contents of all files to their places.
pub(super) fn move_contents(content: &Content<'_>, fit: &Fit, file: &File, hook: Option<Hook<'_>>) -> Result<()> {
    let bytes = |blocks: u64| blocks * BLOCK as u64;
    let all = |extent: &Extent| extent.length.div_ceil(BLOCK as u64);
    let meter = Meter::new(hook, content.files.iter().map(|(_, extent)| bytes(all(extent))).sum());
    let mut mover = Mover {
        content,
        file,
        counter: Counter::new(&meter),
        copier: Copier::default(),
        holes: LastHoles::default(),
        pending: Piece { contents: 0, source: 0..0, target: 0 },
    };
    for (ino, extent) in &content.files {
        let mut space = Space::at(&fit.geometry, fit.placement.inodes[ino.0 as usize]);
        let mapped = Mapping::take(&mut space, content.data_runs(*ino, *extent).iter().cloned());
        let mut data = 0;
        for run in &mapped.extents {
            let source = extent.offset + bytes(run.logical)..extent.offset + bytes(run.logical + run.length);
            mover.add(Piece { contents: extent.file, source, target: bytes(run.physical) })?;
            data += run.length;
        }
        going_on(mover.counter.add(bytes(all(extent) - data)))?;
    }
    mover.flush()?;
    going_on(mover.counter.report())
}

/// A piece of a contents file, and where in the image it goes.
struct Piece {
    contents: u32,
    source: Range<u64>,
    target: u64,
}

struct Mover<'m, 'a> {
    content: &'m Content<'a>,
    file: &'m File,
    counter: Counter<'m>,
    copier: Copier,
    holes: LastHoles<'m>,
    /// What comes next may be a part of it.
    pending: Piece,
}

impl Mover<'_, '_> {
    fn add(&mut self, piece: Piece) -> Result<()> {
        let pending = &mut self.pending;
        let follows = piece.contents == pending.contents
            && piece.source.start == pending.source.end
            && piece.target == pending.target + (pending.source.end - pending.source.start);
        if follows {
            pending.source.end = piece.source.end;
            return Ok(());
        }
        self.flush()?;
        self.pending = piece;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let Piece { contents, source, target } = &self.pending;
        let (fs, counter) = (self.content.fs, &mut self.counter);
        // An index may end its contents file within a block.
        let source = source.start..source.end.min(fs.contents_file(*contents).length);
        if source.is_empty() {
            return Ok(());
        }
        let holes = self.holes.of(fs, *contents);
        let copied = self.copier.copy_to(holes, source, self.file, *target, |count| counter.add(count));
        going_on(copied.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => unreadable(fs, *contents, error),
            _ => Error::Write(error),
        })?)
    }
}

fn going_on(flow: ControlFlow<()>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}
