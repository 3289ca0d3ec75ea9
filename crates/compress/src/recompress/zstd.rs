//! zstd by the threads of libzstd.

use std::io::Read;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, get_error_name};

use super::{Annotations, BUFFER, Plain, Result, Stop, send};
use crate::Error;
use crate::producer::Outlet;

/// The largest level. Level 20 is the largest that skopeo accepts.
pub(super) const MAX_LEVEL: u32 = 20;

/// The level without a choice. With the long matches, it is faster than level 3 alone, and the output has the same size.
const DEFAULT_LEVEL: u32 = 2;

/// Compresses all plain bytes to one frame.
pub(super) fn compress<R: Read>(
    plain: &mut Plain<R>,
    outlet: &Outlet<Vec<u8>>,
    level: Option<u32>,
    threads: usize,
) -> Result<Annotations, Stop> {
    let mut output = Output { context: context(level, threads)?, outlet, buffer: Vec::with_capacity(BUFFER) };
    loop {
        let bytes = plain.fill()?;
        let n = bytes.len();
        if n == 0 {
            output.end()?;
            return Ok(Annotations::new());
        }
        output.write(bytes)?;
        plain.consume(n);
    }
}

/// Returns a context with the parameters for a level.
fn context(level: Option<u32>, threads: usize) -> Result<CCtx<'static>> {
    let mut context = CCtx::create();
    for parameter in parameters(level, threads) {
        context.set_parameter(parameter).map_err(failure)?;
    }
    Ok(context)
}

/// Returns the parameters for a level.
///
/// All levels also search long matches in a window of 8 MiB, because files of a layer partly repeat others. That costs
/// little. RFC 8878 (section 3.1.1.1.2) recommends that decoders accept this window.
fn parameters(level: Option<u32>, threads: usize) -> Vec<CParameter> {
    use CParameter::{
        ChainLog, ChecksumFlag, CompressionLevel, EnableLongDistanceMatching, HashLog, JobSize, LdmMinMatch, NbWorkers,
        WindowLog,
    };
    let level = level.unwrap_or(DEFAULT_LEVEL);
    let mut parameters = vec![
        CompressionLevel(level as i32), // at most MAX_LEVEL
        ChecksumFlag(true),
        EnableLongDistanceMatching(true),
        LdmMinMatch(32),
        WindowLog(23),
        // At least one thread: without one, the output is another.
        NbWorkers(threads.max(1) as u32), // at most MAX_THREADS
    ];
    if level < 10 {
        parameters.push(JobSize(2 << 20));
    } else {
        // The tables of these levels would take up to 200 MiB for each thread.
        parameters.extend([ChainLog(22), HashLog(22), JobSize(4 << 20)]);
    }
    parameters
}

struct Output<'a> {
    context: CCtx<'static>,
    outlet: &'a Outlet<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            self.step(&mut input, ZSTD_EndDirective::ZSTD_e_continue)?;
        }
        Ok(())
    }

    /// Writes the end of the frame.
    fn end(mut self) -> Result<(), Stop> {
        while self.step(&mut InBuffer::around(&[]), ZSTD_EndDirective::ZSTD_e_end)? > 0 {}
        send(self.outlet, self.buffer)
    }

    /// Compresses into the buffer and sends it when it is full. Returns 0 once nothing is left to write.
    fn step(&mut self, input: &mut InBuffer<'_>, directive: ZSTD_EndDirective) -> Result<usize, Stop> {
        let position = self.buffer.len();
        let mut output = OutBuffer::around_pos(&mut self.buffer, position);
        let left = self.context.compress_stream2(&mut output, input, directive).map_err(failure)?;
        if self.buffer.len() == self.buffer.capacity() {
            let mut next = self.outlet.spent().unwrap_or_else(|| Vec::with_capacity(BUFFER));
            next.clear();
            send(self.outlet, std::mem::replace(&mut self.buffer, next))?;
        }
        Ok(left)
    }
}

pub(super) fn failure(code: usize) -> Error {
    Error::Encoder { compression: crate::Compression::Zstd, reason: get_error_name(code) }
}
