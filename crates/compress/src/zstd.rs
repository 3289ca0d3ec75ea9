//! Concatenated zstd frames, including skippable ones (RFC 8878).

use std::fmt;
use std::io::Read;

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::chunk::Chunk;
use crate::input::Input;
use crate::progress::Progress;
use crate::{Compression, Error, Result};

/// `ZSTD_error_frameParameter_windowTooLarge` as the library returns it. The number is part of its stable interface.
const WINDOW_TOO_LARGE: usize = 16usize.wrapping_neg();

/// A decoder of concatenated frames.
pub(crate) struct Zstd {
    context: DCtx<'static>,
    window_log: u32,
    /// Whether the position is between two frames, where the stream may end.
    between: bool,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("between", &self.between).finish_non_exhaustive()
    }
}

impl Zstd {
    pub(crate) fn new(window_log: u32) -> Result<Self> {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(window_log)).map_err(|code| failure(code, window_log, 0))?;
        Ok(Self { context, window_log, between: true })
    }

    pub(crate) fn fill<R: Read>(&mut self, input: &mut Input<R>, chunk: &mut Chunk) -> Result<Progress> {
        while !chunk.is_full() {
            let bytes = input.fill()?;
            if bytes.is_empty() && self.between {
                return Ok(Progress::Ended);
            }
            let at_end = bytes.is_empty();
            let mut source = InBuffer::around(bytes);
            let mut target = OutBuffer::around(chunk.room());
            let stepped = self.context.decompress_stream(&mut target, &mut source);
            let (consumed, produced) = (source.pos(), target.pos());
            input.consume(consumed);
            chunk.advance(produced);
            let hint = stepped.map_err(|code| failure(code, self.window_log, input.consumed()))?;
            self.between = hint == 0;
            if at_end && produced == 0 && !self.between {
                return Err(Error::Truncated { compression: Compression::Zstd, consumed: input.consumed() });
            }
        }
        Ok(Progress::Full)
    }
}

fn failure(code: usize, window_log: u32, consumed: u64) -> Error {
    match code {
        WINDOW_TOO_LARGE => Error::MemoryLimit { compression: Compression::Zstd, limit: 1 << window_log },
        _ => Error::Corrupt { compression: Compression::Zstd, consumed, reason: get_error_name(code) },
    }
}
