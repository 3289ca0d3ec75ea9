//! Decoding on the caller's thread.

use std::io::{self, BufRead, Read};

use crate::chunk::Chunk;
use crate::pieces::InOrder;
use crate::stream::Stream;
use crate::{Compression, Limits, Result};

/// Decoded bytes held at once, in bytes: stays in the second level cache.
const CAPACITY: usize = 256 << 10;

/// Reads a stream of any [`Compression`], decoded.
///
/// Errors of the decoder are [`Error`](crate::Error)s within the [`io::Error`]s: see
/// [`Error::in_io`](crate::Error::in_io). The end is reported only when the compressed stream is complete and the
/// reader at its end too; a truncated stream is an error of kind [`io::ErrorKind::UnexpectedEof`]. What was decoded
/// before an error is given first.
#[derive(Debug)]
pub struct Decoder<R> {
    stream: Stream<R>,
    chunk: Chunk,
    taken: usize,
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes of `reader` and recognises the compression by them.
    ///
    /// # Errors
    /// The reader's.
    pub fn new(reader: R, limits: &Limits) -> Result<Self> {
        Ok(Self { stream: Stream::open(reader, limits, CAPACITY)?, chunk: Chunk::new(CAPACITY), taken: 0 })
    }

    /// What the stream was recognised as.
    pub fn compression(&self) -> Compression {
        self.stream.compression()
    }

    /// Compressed bytes that were decoded so far: at the end all there are.
    pub fn consumed(&self) -> u64 {
        self.stream.consumed()
    }

    /// The reader of the compressed bytes; it is ahead of [`Self::consumed`] by what is buffered.
    pub fn get_ref(&self) -> &R {
        self.stream.get_ref()
    }

    /// Gives back the reader of the compressed bytes, at its end if this one is at its own.
    pub fn into_inner(self) -> R {
        self.stream.into_reader()
    }
}

impl<R: Read> BufRead for Decoder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.chunk.len() {
            self.taken = 0;
            self.stream.fill(&mut self.chunk, &mut InOrder)?;
        }
        Ok(&self.chunk.bytes()[self.taken..])
    }

    fn consume(&mut self, n: usize) {
        self.taken = (self.taken + n).min(self.chunk.len());
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}
