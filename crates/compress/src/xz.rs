//! Concatenated xz streams, with the padding that the format allows between them.

use std::fmt;
use std::io::Read;

use liblzma::stream::{Action, CONCATENATED, Error as XzError, Status, Stream};

use crate::chunk::Chunk;
use crate::input::Input;
use crate::progress::Progress;
use crate::{Compression, Error, Result};

/// The most memory of a decoder in bytes. `xz -9` needs 65 MiB.
const MEMORY_LIMIT: u64 = 256 << 20;

/// A decoder of concatenated streams.
pub(crate) struct Xz {
    stream: Stream,
}

impl fmt::Debug for Xz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Xz")
    }
}

impl Xz {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { stream: Stream::new_stream_decoder(MEMORY_LIMIT, CONCATENATED).map_err(|e| failure(&e, 0))? })
    }

    pub(crate) fn fill<R: Read>(&mut self, input: &mut Input<R>, chunk: &mut Chunk) -> Result<Progress> {
        while !chunk.is_full() {
            let bytes = input.fill()?;
            let at_end = bytes.is_empty();
            // `Finish` marks the end of the last stream.
            let action = if at_end { Action::Finish } else { Action::Run };
            let (in_before, out_before) = (self.stream.total_in(), self.stream.total_out());
            let stepped = self.stream.process(bytes, chunk.room(), action);
            let consumed = (self.stream.total_in() - in_before) as usize; // at most the length of `bytes`
            let produced = (self.stream.total_out() - out_before) as usize; // at most the chunk's room
            input.consume(consumed);
            chunk.advance(produced);
            match stepped {
                Ok(Status::StreamEnd) => return Ok(Progress::Ended),
                Ok(_) if at_end && produced == 0 => {
                    return Err(Error::Truncated { compression: Compression::Xz, consumed: input.consumed() });
                }
                Ok(_) => {}
                Err(error) => return Err(failure(&error, input.consumed())),
            }
        }
        Ok(Progress::Full)
    }
}

fn failure(error: &XzError, consumed: u64) -> Error {
    let reason = match error {
        XzError::MemLimit => return Error::MemoryLimit { compression: Compression::Xz, limit: MEMORY_LIMIT },
        XzError::Data => "a block is malformed or has a wrong checksum",
        XzError::Format => "not an xz stream",
        XzError::Options => "an option or filter is not supported",
        XzError::Mem => "no memory for the decoder",
        XzError::Program | XzError::NoCheck | XzError::UnsupportedCheck => "the xz decoder cannot continue",
    };
    Error::Corrupt { compression: Compression::Xz, consumed, reason }
}
