//! Writing the entries of a tar.

use std::io::{self, Write};
use std::ops::Range;

use vmroot_output::{Counter, SparseRead};

use super::BLOCK;
use super::header::EntryHeader;
use super::sparse::SparseMap;
use crate::error::check_flow;
use crate::stream::{Stream, copy_with_holes};
use crate::{Error, Result};

/// Writes a tar entry by entry.
#[derive(Debug)]
pub struct Archive<'w> {
    output: Stream<'w>,
    /// Whether large holes are left out, in GNU's sparse format.
    sparse: bool,
}

impl<'w> Archive<'w> {
    /// Begins a tar. All zeros of files are written.
    pub fn new(writer: &'w mut dyn Write) -> Self {
        Self { output: Stream::new(writer), sparse: false }
    }

    /// Sets whether large holes are left out, in GNU's sparse format.
    #[must_use]
    pub fn sparse(self, sparse: bool) -> Self {
        Self { sparse, ..self }
    }

    /// Writes an entry without data.
    ///
    /// # Errors
    /// [`Error::Stream`](crate::Error::Stream): the writer failed.
    pub fn add_entry(&mut self, header: EntryHeader) -> Result<()> {
        self.output.write(&header.into_bytes())
    }

    /// Writes a regular file with the contents `bytes`.
    ///
    /// # Errors
    /// [`Error::Stream`](crate::Error::Stream): the writer failed.
    pub fn add_bytes(&mut self, mut header: EntryHeader, bytes: &[u8]) -> Result<()> {
        header.set_size(bytes.len() as u64);
        self.output.write(&header.into_bytes())?;
        self.output.write(bytes)?;
        self.output.pad(BLOCK)
    }

    /// Writes a regular file with the contents of `range` in another file. A sparse tar leaves out zeros if that saves
    /// enough.
    ///
    /// # Errors
    /// - The error of `unreadable` for a failed read.
    /// - [`Error::Stream`](crate::Error::Stream): the writer failed.
    /// - [`Error::Cancelled`](crate::Error::Cancelled): the counter's hook returned `Break`.
    pub fn add_file<E: From<Error>>(
        &mut self,
        header: EntryHeader,
        file: &mut dyn SparseRead,
        range: Range<u64>,
        counter: &mut Counter<'_>,
        unreadable: impl FnOnce(io::Error) -> E,
    ) -> std::result::Result<(), E> {
        self.copy_file(header, file, range, counter)?.map_err(unreadable)
    }

    /// Writes a regular file. The inner error is a read error.
    fn copy_file(
        &mut self,
        mut header: EntryHeader,
        file: &mut dyn SparseRead,
        range: Range<u64>,
        counter: &mut Counter<'_>,
    ) -> Result<io::Result<()>> {
        if !self.sparse {
            return self.add_whole_file(header, file, range, counter);
        }
        let length = range.end - range.start;
        let map = match SparseMap::find(file, range.clone()) {
            Ok(map) => map,
            Err(error) => return Ok(Err(error)),
        };
        let Some(map) = map else {
            return self.add_whole_file(header, file, range, counter);
        };
        let (runs, data) = (map.to_bytes(), map.data_length());
        header.set_sparse(length, runs.len() as u64 + data);
        self.output.write(&header.into_bytes())?;
        self.output.write(&runs)?;
        for run in map.runs {
            let run = range.start + run.start..range.start + run.end;
            let read = copy_with_holes(&mut self.output, file, run, counter)?;
            if read.is_err() {
                return Ok(read);
            }
        }
        check_flow(counter.add(length - data))?;
        self.output.pad(BLOCK).map(Ok)
    }

    /// Writes a regular file including its zeros.
    fn add_whole_file(
        &mut self,
        mut header: EntryHeader,
        file: &mut dyn SparseRead,
        range: Range<u64>,
        counter: &mut Counter<'_>,
    ) -> Result<io::Result<()>> {
        header.set_size(range.end - range.start);
        self.output.write(&header.into_bytes())?;
        let read = copy_with_holes(&mut self.output, file, range, counter)?;
        self.output.pad(BLOCK).map(|()| read)
    }

    /// Writes the two blocks of zeros that end a tar, and flushes the writer.
    ///
    /// # Errors
    /// [`Error::Stream`](crate::Error::Stream): the writer failed.
    pub fn finish(mut self) -> Result<()> {
        self.output.write(&[0; 2 * BLOCK])?;
        self.output.finish()
    }
}
