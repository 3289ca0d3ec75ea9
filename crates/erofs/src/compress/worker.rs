//! A thread's compressor: reads segments of files and compresses them.

use vmroot_container_fs::ContainerFs;
use vmroot_output::LastHoles;

use super::ErofsCompression;
use super::extent::{Encoder, Extents, compress};
use super::files::{Piece, SEGMENT};
use crate::{Error, Result};

pub(crate) struct Worker<'a> {
    fs: &'a ContainerFs,
    encoder: Box<dyn Encoder>,
    holes: LastHoles<'a>,
    source: Vec<u8>,
    /// The extents of a segment that is a hole, computed once: some files consist mostly of holes.
    zeros: Option<Extents>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(fs: &'a ContainerFs, compression: ErofsCompression) -> Self {
        Self { fs, encoder: compression.encoder(), holes: LastHoles::default(), source: Vec::new(), zeros: None }
    }

    /// Compresses the pieces. Returns each with its extents.
    pub(crate) fn work(&mut self, pieces: Vec<Piece>) -> Result<Vec<(Piece, Extents)>> {
        pieces.into_iter().map(|piece| Ok((piece, self.compress(&piece)?))).collect()
    }

    fn compress(&mut self, piece: &Piece) -> Result<Extents> {
        let is_hole = self.is_hole(piece)?;
        let is_zeros = is_hole && piece.length == SEGMENT;
        if is_zeros && let Some(zeros) = &self.zeros {
            return Ok(zeros.clone());
        }
        self.source.clear();
        self.source.resize(piece.length as usize, 0);
        if !is_hole {
            self.fs.read_at(piece.ino, piece.offset, &mut self.source)?;
        }
        let mut extents = Extents::default();
        compress(&mut *self.encoder, &self.source, &mut extents);
        if !piece.is_smaller(&extents) {
            extents.store(&self.source);
        }
        if is_zeros {
            self.zeros = Some(extents.clone());
        }
        Ok(extents)
    }

    /// Returns whether the piece is a hole in the contents file.
    fn is_hole(&mut self, piece: &Piece) -> Result<bool> {
        let Some(extent) = self.fs.extent(piece.ino) else { return Ok(true) };
        let start = extent.offset + piece.offset;
        let holes = self.holes.of(extent.file, &self.fs.contents_file(extent.file).file);
        let data = holes.next_data(start..start + piece.length);
        let data = data.map_err(|error| Error::unreadable(self.fs, extent.file, error))?;
        Ok(data.is_none())
    }
}
