//! Entries on their way into a tar.

use std::io::{self, Write};
use std::ops::Range;

use vmroot_output::{Counter, Holes};

use super::BLOCK;
use super::header::EntryHeader;
use super::sparse::Map;
use crate::Result;
use crate::error::going_on;
use crate::stream::{Stream, copy_with_holes};

/// A tar that is being written.
pub struct Archive<W> {
    output: Stream<W>,
    /// Whether large holes are left out, in GNU's sparse format.
    sparse: bool,
}

impl<W: Write> Archive<W> {
    /// Begins a tar, with large holes left out in GNU's format if it is `sparse`.
    pub fn new(writer: W, sparse: bool) -> Self {
        Self { output: Stream::new(writer), sparse }
    }

    /// Writes an entry that has no bytes.
    pub fn entry(&mut self, header: EntryHeader) -> Result<()> {
        self.output.write(&header.into_bytes())
    }

    /// Writes a regular file with bytes that are at hand.
    pub fn bytes(&mut self, mut header: EntryHeader, bytes: &[u8]) -> Result<()> {
        header.set_size(bytes.len() as u64);
        self.output.write(&header.into_bytes())?;
        self.output.write(bytes)?;
        self.output.pad(BLOCK)
    }

    /// Writes a regular file with the bytes of a range of the file that `holes` looks at; in a sparse tar without its
    /// zeros, where that is worth it. The inner error is that of reading.
    pub fn file(
        &mut self,
        mut header: EntryHeader,
        holes: &mut Holes<'_>,
        range: Range<u64>,
        counter: &mut Counter<'_>,
    ) -> Result<io::Result<()>> {
        if !self.sparse {
            return self.whole_file(header, holes, range, counter);
        }
        let length = range.end - range.start;
        let map = match Map::of(holes, range.clone()) {
            Ok(map) => map,
            Err(error) => return Ok(Err(error)),
        };
        let Some(map) = map else {
            return self.whole_file(header, holes, range, counter);
        };
        let (runs, data) = (map.to_bytes(), map.data_length());
        header.set_sparse(length, runs.len() as u64 + data);
        self.output.write(&header.into_bytes())?;
        self.output.write(&runs)?;
        for run in map.runs {
            let run = range.start + run.start..range.start + run.end;
            let read = copy_with_holes(&mut self.output, holes, run, counter)?;
            if read.is_err() {
                return Ok(read);
            }
        }
        going_on(counter.add(length - data))?;
        self.output.pad(BLOCK).map(Ok)
    }

    /// The same, zeros and all.
    fn whole_file(
        &mut self,
        mut header: EntryHeader,
        holes: &mut Holes<'_>,
        range: Range<u64>,
        counter: &mut Counter<'_>,
    ) -> Result<io::Result<()>> {
        header.set_size(range.end - range.start);
        self.output.write(&header.into_bytes())?;
        let read = copy_with_holes(&mut self.output, holes, range, counter)?;
        self.output.pad(BLOCK).map(|()| read)
    }

    /// Writes the two blocks of zeros that end a tar, and gives the writer back with the number of bytes.
    pub fn finish(mut self) -> Result<(W, u64)> {
        self.output.write(&[0; 2 * BLOCK])?;
        self.output.finish()
    }
}
