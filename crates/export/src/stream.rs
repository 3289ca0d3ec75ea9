//! Buffered output of archives, plain or compressed.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;

use vmroot_compress::{Encoder, EncoderOptions};
use vmroot_output::{Counter, Omissions, Report, SparseRead};

use crate::error::check_flow;
use crate::{Error, Result};

/// The size of the buffer in bytes. It holds several files of usual size, and files are read directly into it.
const BUFFER: usize = 1 << 20;

/// Calls `write` with a writer of the plain bytes of an archive, which reach `writer` compressed if `compression` is
/// given. Flushes `writer`. Returns the number of its bytes and the omissions that `write` returns.
///
/// # Errors
/// - [`Error::Compression`]: the compression is not supported for writing, or it does not have this level.
/// - [`Error::Stream`]: the writer failed.
/// - The errors of `write`.
pub fn write_stream<E: From<Error>>(
    writer: &mut dyn Write,
    compression: Option<&EncoderOptions>,
    write: impl FnOnce(&mut dyn Write) -> std::result::Result<Omissions, E>,
) -> std::result::Result<Report, E> {
    let mut writer = CountingWriter { writer, bytes: 0 };
    let omissions = match compression {
        None => write(&mut writer)?,
        Some(options) => {
            let mut encoder = Encoder::new(&mut writer, options).map_err(Error::from)?;
            let omissions = write(&mut encoder)?;
            encoder.finish().map_err(Error::of_writer)?;
            omissions
        }
    };
    writer.flush().map_err(Error::of_writer)?;
    Ok(Report::new(writer.bytes, omissions))
}

struct CountingWriter<'w> {
    writer: &'w mut dyn Write,
    bytes: u64,
}

impl Write for CountingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("filled", &self.filled).field("written", &self.written).finish_non_exhaustive()
    }
}

/// A buffer in front of a writer.
pub(crate) struct Stream<'w> {
    writer: &'w mut dyn Write,
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes passed to the writer.
    written: u64,
}

impl<'w> Stream<'w> {
    pub(crate) fn new(writer: &'w mut dyn Write) -> Self {
        Self { writer, buffer: vec![0; BUFFER], filled: 0, written: 0 }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(self.room()?));
            self.buffer[self.filled..self.filled + piece.len()].copy_from_slice(piece);
            self.filled += piece.len();
            bytes = rest;
        }
        Ok(())
    }

    /// Copies bytes of a file, at most one buffer. Returns the number of bytes. The inner error is a read error.
    pub(crate) fn copy_from(&mut self, file: &mut dyn SparseRead, range: &Range<u64>) -> Result<io::Result<u64>> {
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(self.room()?);
        let read = file.read_exact_at(&mut self.buffer[self.filled..self.filled + count], range.start);
        Ok(read.map(|()| {
            self.filled += count;
            count as u64
        }))
    }

    /// Writes zeros, at most one buffer. Returns their number.
    pub(crate) fn write_zeros(&mut self, most: u64) -> Result<u64> {
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.room()?);
        self.buffer[self.filled..self.filled + count].fill(0);
        self.filled += count;
        Ok(count as u64)
    }

    /// Writes zeros up to the next multiple of `block`, which is at most 512.
    pub(crate) fn pad(&mut self, block: usize) -> Result<()> {
        let position = self.written + self.filled as u64;
        let padding = position.next_multiple_of(block as u64) - position;
        self.write(&[0; 512][..padding as usize])
    }

    /// Flushes the buffer and the writer.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write_out()?;
        self.writer.flush().map_err(Error::of_writer)
    }

    /// Returns the free space in the buffer, at least one byte.
    fn room(&mut self) -> Result<usize> {
        if self.filled == self.buffer.len() {
            self.write_out()?;
        }
        Ok(self.buffer.len() - self.filled)
    }

    fn write_out(&mut self) -> Result<()> {
        self.writer.write_all(&self.buffer[..self.filled]).map_err(Error::of_writer)?;
        self.written += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

/// Copies a range of a file. Holes are not read but written as zeros. The inner error is a read error.
pub(crate) fn copy_with_holes(
    output: &mut Stream<'_>,
    file: &mut dyn SparseRead,
    range: Range<u64>,
    counter: &mut Counter<'_>,
) -> Result<io::Result<()>> {
    let mut position = range.start;
    while position < range.end {
        let data = match file.next_data(position..range.end) {
            Ok(data) => data.unwrap_or(range.end..range.end),
            Err(error) => return Ok(Err(error)),
        };
        let count = if position < data.start {
            output.write_zeros(data.start - position)?
        } else {
            match output.copy_from(file, &data)? {
                Ok(count) => count,
                Err(error) => return Ok(Err(error)),
            }
        };
        position += count;
        check_flow(counter.add(count))?;
    }
    Ok(Ok(()))
}
