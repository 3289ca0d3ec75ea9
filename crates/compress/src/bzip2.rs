//! Concatenated bzip2 streams.

use std::fmt;
use std::io::Read;

use bzip2::{Decompress, Status};

use crate::chunk::Chunk;
use crate::input::Input;
use crate::progress::Progress;
use crate::{Compression, Error, Result};

/// A decoder of concatenated streams, as written by pbzip2.
pub(crate) struct Bzip2 {
    /// `None` between two streams.
    stream: Option<Decompress>,
}

impl fmt::Debug for Bzip2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bzip2").field("between", &self.stream.is_none()).finish()
    }
}

impl Bzip2 {
    pub(crate) fn new() -> Self {
        Self { stream: None }
    }

    pub(crate) fn fill<R: Read>(&mut self, input: &mut Input<R>, chunk: &mut Chunk) -> Result<Progress> {
        while !chunk.is_full() {
            let at = input.consumed();
            let bytes = input.fill_to(MAGIC.len())?;
            let at_end = bytes.is_empty();
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None if at_end => return Ok(Progress::Ended),
                None if !bytes.starts_with(MAGIC) => {
                    return Err(Error::TrailingGarbage { compression: Compression::Bzip2, offset: at });
                }
                None => self.stream.insert(Decompress::new(false)),
            };
            let (in_before, out_before) = (stream.total_in(), stream.total_out());
            let stepped = stream.decompress(bytes, chunk.room());
            let consumed = (stream.total_in() - in_before) as usize; // at most the length of `bytes`
            let produced = (stream.total_out() - out_before) as usize; // at most the chunk's room
            input.consume(consumed);
            chunk.advance(produced);
            match stepped {
                Ok(Status::StreamEnd) => self.stream = None,
                Ok(_) if at_end && produced == 0 => {
                    return Err(Error::Truncated { compression: Compression::Bzip2, consumed: input.consumed() });
                }
                Ok(_) => {}
                Err(error) => return Err(failure(&error, input.consumed())),
            }
        }
        Ok(Progress::Full)
    }
}

const MAGIC: &[u8] = b"BZh";

fn failure(error: &bzip2::Error, consumed: u64) -> Error {
    let reason = match error {
        bzip2::Error::Data => "a block is malformed or has a wrong checksum",
        bzip2::Error::DataMagic => "not a bzip2 stream",
        bzip2::Error::Sequence | bzip2::Error::Param => "the bzip2 decoder cannot continue",
    };
    Error::Corrupt { compression: Compression::Bzip2, consumed, reason }
}
