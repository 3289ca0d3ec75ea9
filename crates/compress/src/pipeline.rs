//! Reading and decoding on threads of their own, beside the work on what was decoded.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use crate::budget::Budget;
use crate::chunk::Chunk;
use crate::producer::{Outlet, Producer};
use crate::read_ahead::ReadAhead;
use crate::speculation::{Sizes, Speculation};
use crate::stream::Stream;
use crate::{Limits, Result};

/// Decoded bytes handed over at once, in bytes.
const CAPACITY: usize = 1 << 20;

/// Chunks that may wait to be taken.
const DEPTH: usize = 4;

/// Decodes `reader`, of any [`Compression`](crate::Compression): one thread reads, another decodes.
///
/// At most 5 MiB of decoded bytes and 1 MiB of compressed bytes wait in between. Where the machine has four cores or more
/// and few streams are decoded, more threads decode parts of a large gzip stream before it is their turn. The output and
/// the errors are the same. This takes at most 56 MiB for all streams of the process, and 12 MiB for each of them.
///
/// A thread that cannot be started is an error of the first read.
pub fn pipelined<R: Read + Send + 'static>(reader: R, limits: &Limits) -> ChunkReader<R> {
    spread(reader, limits, Budget::of_process(), Sizes::NORMAL)
}

/// [`pipelined`], as if the machine had so many cores and no other stream were decoded.
///
/// This is for measurements.
pub fn pipelined_on<R: Read + Send + 'static>(reader: R, limits: &Limits, cores: usize) -> ChunkReader<R> {
    spread(reader, limits, Budget::new(cores), Sizes::NORMAL)
}

pub(crate) fn spread<R: Read + Send + 'static>(
    reader: R,
    limits: &Limits,
    budget: Arc<Budget>,
    sizes: Sizes,
) -> ChunkReader<R> {
    let limits = *limits;
    let work = move |outlet| {
        let pieces = Speculation::new(budget.share(), sizes);
        decode(ReadAhead::new(reader, sizes.unit), &limits, pieces, &outlet)
    };
    ChunkReader { producer: Producer::start("decode", DEPTH, work), current: None, taken: 0, consumed: 0 }
}

/// Runs on the thread: returns the reader if all of it was decoded.
fn decode<R>(reader: ReadAhead<R>, limits: &Limits, pieces: Speculation, outlet: &Outlet<Chunk>) -> Option<R> {
    match decode_all(reader, limits, pieces, outlet) {
        Ok(reader) => reader,
        Err(error) => {
            outlet.send(Err(error))?;
            None
        }
    }
}

/// Returns `None` when the other end is gone.
fn decode_all<R>(
    reader: ReadAhead<R>,
    limits: &Limits,
    mut pieces: Speculation,
    outlet: &Outlet<Chunk>,
) -> Result<Option<R>> {
    let mut stream = Stream::open(reader, limits, CAPACITY)?;
    loop {
        let mut chunk = outlet.spent().or_else(|| pieces.replaced()).unwrap_or_else(|| Chunk::new(CAPACITY));
        stream.fill(&mut chunk, &mut pieces)?;
        if chunk.is_empty() {
            return stream.into_reader().into_inner().map(Some);
        }
        if outlet.send(Ok(chunk)).is_none() {
            return Ok(None);
        }
    }
}

/// Reads what a thread decodes; made by [`pipelined`].
///
/// [`BufRead::fill_buf`] lends the thread's buffers without copying them. Errors come after the bytes decoded before
/// them, as with [`Decoder`](crate::Decoder). Dropping the reader early stops the threads as soon as they have a buffer
/// to hand over. They are not joined, since they may be waiting for the underlying reader.
pub struct ChunkReader<R> {
    producer: Producer<Chunk, R>,
    current: Option<Chunk>,
    taken: usize,
    consumed: u64,
}

impl<R> ChunkReader<R> {
    /// Compressed bytes that went into what was read so far, with the chunk being read counted as a whole.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads to the end, then gives back the reader of the compressed bytes, which is at its end too.
    ///
    /// # Errors
    /// Those of the rest of the stream; [`Error::FailedBefore`](crate::Error::FailedBefore) after an earlier error.
    pub fn finish(mut self) -> Result<R> {
        while self.advance()? {}
        self.producer.into_inner()
    }

    /// Goes on to the next chunk; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        self.taken = 0;
        let used = self.current.take().and_then(Chunk::give_back);
        self.current = self.producer.next(used)?;
        if let Some(chunk) = &self.current {
            self.consumed = chunk.consumed;
        }
        Ok(self.current.is_some())
    }
}

impl<R> BufRead for ChunkReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| chunk.len() == self.taken) {
            self.advance()?;
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk.bytes()[self.taken..]))
    }

    fn consume(&mut self, n: usize) {
        let len = self.current.as_ref().map_or(0, Chunk::len);
        self.taken = (self.taken + n).min(len);
    }
}

impl<R> Read for ChunkReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R> fmt::Debug for ChunkReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkReader").field("consumed", &self.consumed).finish_non_exhaustive()
    }
}
