//! Reading and decoding on separate threads, concurrently with the use of the output.

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

/// The size of an output chunk in bytes.
const CAPACITY: usize = 1 << 20;

/// The most chunks that wait to be used.
const DEPTH: usize = 4;

/// Decodes `reader`, of any [`Compression`](crate::Compression), with one thread that reads and one that decodes.
///
/// At most 5 MiB of decoded and 1 MiB of compressed bytes are buffered. On a machine with at least four cores, further
/// threads decode parts of large gzip streams ahead, unless many streams are decoded. The output and the errors do not
/// change. This takes at most 56 MiB for the process, and 12 MiB for each stream.
///
/// If a thread cannot be started, the first read returns the error.
pub fn pipelined<R: Read + Send + 'static>(reader: R, limits: &Limits) -> ChunkReader<R> {
    pipelined_with(reader, limits, Budget::of_process(), Sizes::NORMAL)
}

/// Like [`pipelined`], but for a given number of cores, and as if there were no other stream.
///
/// For measurements.
pub fn pipelined_on<R: Read + Send + 'static>(reader: R, limits: &Limits, cores: usize) -> ChunkReader<R> {
    pipelined_with(reader, limits, Budget::new(cores), Sizes::NORMAL)
}

pub(crate) fn pipelined_with<R: Read + Send + 'static>(
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

/// The main function of the decoding thread. Returns the reader if all of it was decoded.
fn decode<R>(reader: ReadAhead<R>, limits: &Limits, pieces: Speculation, outlet: &Outlet<Chunk>) -> Option<R> {
    match decode_all(reader, limits, pieces, outlet) {
        Ok(reader) => reader,
        Err(error) => {
            outlet.send(Err(error))?;
            None
        }
    }
}

/// Returns `None` if the receiver was dropped.
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

/// A reader of bytes that another thread decodes. Created by [`pipelined`].
///
/// [`BufRead::fill_buf`] returns the buffers of that thread without a copy. As in [`Decoder`](crate::Decoder), bytes
/// decoded before an error are returned first. After an early drop, the threads stop when they pass their next buffer.
/// They are not joined, because they may be waiting for the inner reader.
pub struct ChunkReader<R> {
    producer: Producer<Chunk, R>,
    current: Option<Chunk>,
    taken: usize,
    consumed: u64,
}

impl<R> ChunkReader<R> {
    /// Returns the number of compressed bytes for the output so far, including the whole current chunk.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads to the end. Returns the inner reader, which is then at its end.
    ///
    /// # Errors
    /// - The errors of the rest of the stream.
    /// - [`Error::FailedBefore`](crate::Error::FailedBefore): an earlier read failed.
    pub fn finish(mut self) -> Result<R> {
        while self.advance()? {}
        self.producer.into_inner()
    }

    /// Moves to the next chunk. Returns `false` at the end.
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
