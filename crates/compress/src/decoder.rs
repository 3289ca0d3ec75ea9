//! Decoding on the caller's thread.

use std::io::{self, BufRead, Read};

use crate::chunk::Chunk;
use crate::pieces::InOrder;
use crate::stream::Stream;
use crate::{Compression, Limits, Result};

/// The size of the output buffer in bytes. It fits in the L2 cache.
const CAPACITY: usize = 256 << 10;

/// A reader that decodes a stream of any [`Compression`].
///
/// Errors of the decoder are [`Error`](crate::Error)s inside [`io::Error`]s: see
/// [`Error::in_io`](crate::Error::in_io). Bytes decoded before an error are returned first. The end of the file is
/// reported only if the compressed stream is complete and the inner reader is at its end. A truncated stream is an
/// error of kind [`io::ErrorKind::UnexpectedEof`].
#[derive(Debug)]
pub struct Decoder<R> {
    stream: Stream<R>,
    chunk: Chunk,
    taken: usize,
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes of `reader` and detects the compression.
    ///
    /// # Errors
    /// The error of the reader.
    pub fn new(reader: R, limits: &Limits) -> Result<Self> {
        Ok(Self { stream: Stream::open(reader, limits, CAPACITY)?, chunk: Chunk::new(CAPACITY), taken: 0 })
    }

    /// Returns the detected compression.
    pub fn compression(&self) -> Compression {
        self.stream.compression()
    }

    /// Returns the number of compressed bytes decoded so far. At the end it is the length of the stream.
    pub fn consumed(&self) -> u64 {
        self.stream.consumed()
    }

    /// Returns the inner reader. It may be ahead of [`Self::consumed`], because its bytes are buffered.
    pub fn get_ref(&self) -> &R {
        self.stream.get_ref()
    }

    /// Returns the inner reader. It is at its end if this reader is.
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
