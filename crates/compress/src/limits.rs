//! How far a hostile stream may go.

use crate::chunk::Chunk;
use crate::{Error, Result};

/// Limits on what one stream may decode to.
///
/// Zeros cost next to nothing to store, and honest layers hold terabytes of them: a `/var/log/lastlog` has a place for
/// every user up to the highest id. So blocks of zeros, of 4096 bytes, count for [`Limits::max_output`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes that may come out, of any kind: a bound on time, and on memory where they are kept there.
    pub max_output: u64,
    /// Most bytes that may come out but for blocks of zeros: a bound on the bytes to store.
    pub max_data: u64,
    /// Most bytes but for blocks of zeros that may come out for each byte that went in; looked at once
    /// [`Limits::RATIO_FREE_OUTPUT`] of them are out.
    pub max_ratio: u64,
    /// Largest zstd window, as a power of two: a frame's header can ask for far more memory than this. From 10 to 31.
    pub zstd_window_log: u32,
}

impl Limits {
    /// Output up to which [`Limits::max_ratio`] is not looked at: an honest layer may be a few files of one byte.
    pub const RATIO_FREE_OUTPUT: u64 = 256 << 20;
}

impl Default for Limits {
    /// 2 TiB out, 64 GiB of them and 400 times the input without blocks of zeros, windows of 128 MiB.
    fn default() -> Self {
        Self { max_output: 2 << 40, max_data: 64 << 30, max_ratio: 400, zstd_window_log: 27 }
    }
}

/// What a stream has given so far, held against its limits.
///
/// Blocks are counted from the beginning of the stream, so that it makes no difference in which chunks it comes.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    produced: u64,
    /// Of them, the bytes that are not in blocks of zeros.
    data: u64,
    /// Whether the block that the stream is in has only zeros so far, which are not counted as data.
    zeros: bool,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, produced: 0, data: 0, zeros: true }
    }

    /// Bytes that came out.
    pub(crate) fn produced(&self) -> u64 {
        self.produced
    }

    /// Counts the bytes of a chunk. Those over a limit are taken out of it, and are an error.
    pub(crate) fn count(&mut self, chunk: &mut Chunk) -> Result<()> {
        let room = (self.limits.max_output - self.produced).min(chunk.len() as u64) as usize; // no more than there is
        match self.count_bytes(&chunk.bytes()[..room]) {
            Ok(()) if room == chunk.len() => Ok(()),
            Ok(()) => {
                chunk.truncate(room);
                Err(Error::OutputLimit { limit: self.limits.max_output })
            }
            Err(kept) => {
                chunk.truncate(kept);
                Err(Error::DataLimit { limit: self.limits.max_data })
            }
        }
    }

    /// Counts bytes; where they pass the limit on data, returns how many are within it.
    fn count_bytes(&mut self, bytes: &[u8]) -> std::result::Result<(), usize> {
        let mut done = 0;
        while done < bytes.len() {
            let before = (self.produced % BLOCK as u64) as usize;
            let rest = &bytes[done..];
            let part = &rest[..rest.len().min(BLOCK - before)];
            let zeros = self.zeros && is_zero(part);
            if !zeros {
                // The zeros before it turn out to be data.
                let uncounted = if self.zeros { before as u64 } else { 0 };
                let left = self.limits.max_data - self.data;
                if uncounted + part.len() as u64 > left {
                    // The zeros that a block begins with may be in the chunk before, so they are always kept.
                    let kept = if self.zeros { leading_zeros(part) } else { 0 };
                    return Err(done + kept.max(left.saturating_sub(uncounted) as usize)); // less than the part has
                }
                self.data += uncounted + part.len() as u64;
            }
            self.zeros = zeros || before + part.len() == BLOCK;
            self.produced += part.len() as u64;
            done += part.len();
        }
        Ok(())
    }

    pub(crate) fn check_ratio(&self, consumed: u64) -> Result<()> {
        let (limit, produced) = (self.limits.max_ratio, self.data);
        if produced > Limits::RATIO_FREE_OUTPUT && produced > consumed.saturating_mul(limit) {
            return Err(Error::RatioLimit { limit, consumed, produced });
        }
        Ok(())
    }

    /// Bytes that can be added after so many compressed ones without passing the ratio, at whichever of them it is
    /// looked at.
    pub(crate) fn within_ratio(&self, consumed: u64) -> u64 {
        let most = consumed.saturating_mul(self.limits.max_ratio).max(Limits::RATIO_FREE_OUTPUT);
        // Zeros of the block before may turn out to be data.
        most.saturating_sub(self.data + BLOCK as u64)
    }
}

/// The blocks that are looked at: those that a file system can leave out.
const BLOCK: usize = 4096;

/// A block that is not all zeros mostly shows so at its first bytes: looking for zeros costs next to nothing.
fn is_zero(part: &[u8]) -> bool {
    part == &[0; BLOCK][..part.len()]
}

fn leading_zeros(part: &[u8]) -> usize {
    part.iter().take_while(|byte| **byte == 0).count()
}
