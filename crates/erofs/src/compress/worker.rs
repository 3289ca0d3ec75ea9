//! A thread's compressor: reads segments of files and compresses them.

use vmroot_container_fs::ContainerFs;
use vmroot_output::LastHoles;

use super::ErofsCompression;
use super::extent::{Encoder, Extents, compress};
use super::files::{SEGMENT_BYTES, Segment};
use crate::Result;

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

    /// Compresses the segments. Returns each with its extents.
    pub(crate) fn work(&mut self, segments: Vec<Segment>) -> Result<Vec<(Segment, Extents)>> {
        segments.into_iter().map(|segment| Ok((segment, self.compress(&segment)?))).collect()
    }

    fn compress(&mut self, segment: &Segment) -> Result<Extents> {
        let is_hole = self.is_hole(segment)?;
        let is_zeros = is_hole && segment.length == SEGMENT_BYTES;
        if is_zeros && let Some(zeros) = &self.zeros {
            return Ok(zeros.clone());
        }
        self.source.clear();
        self.source.resize(segment.length as usize, 0);
        if !is_hole {
            self.fs.read_at(segment.ino, segment.offset, &mut self.source)?;
        }
        let mut extents = Extents::default();
        compress(&mut *self.encoder, &self.source, &mut extents);
        if !segment.is_smaller(&extents) {
            extents.store(&self.source);
        }
        if is_zeros {
            self.zeros = Some(extents.clone());
        }
        Ok(extents)
    }

    /// Returns whether the segment is a hole in the contents file.
    fn is_hole(&mut self, segment: &Segment) -> Result<bool> {
        let Some(extent) = self.fs.extent(segment.ino) else { return Ok(true) };
        let start = extent.offset + segment.offset;
        let holes = self.holes.of(extent.file, &self.fs.contents_file(extent.file).file);
        let data = holes.next_data(start..start + segment.length);
        let data = data.map_err(|error| self.fs.unreadable(extent.file, start, error))?;
        Ok(data.is_none())
    }
}
