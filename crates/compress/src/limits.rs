//! Limits against hostile streams.

use crate::chunk::Chunk;
use crate::{Error, Result};

/// Limits on the output of a stream.
///
/// Ordinary layers may contain terabytes of zeros: `/var/log/lastlog` has an entry for every user up to the highest id.
/// Zeros take hardly any space, so blocks of 4096 zero bytes count only for [`Limits::max_output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most output in bytes. This limits the time, and the memory of callers that keep the output in memory.
    pub max_output: u64,
    /// The most output in bytes without blocks of zeros. This limits the space to store it.
    pub max_data: u64,
    /// The most output bytes without blocks of zeros for each byte of input. It is checked from
    /// [`Limits::RATIO_FREE_OUTPUT`] on.
    pub max_ratio: u64,
    /// The largest zstd window, as a power of two from 10 to 31. Without a limit, the header of a frame could request
    /// any amount of memory.
    pub zstd_window_log: u32,
}

impl Limits {
    /// The output in bytes up to which [`Limits::max_ratio`] is not checked, because ordinary small layers may
    /// exceed it.
    pub const RATIO_FREE_OUTPUT: u64 = 256 << 20;
}

impl Default for Limits {
    /// Returns the default limits: 2 TiB of output; 64 GiB, and 400 times the input, without blocks of zeros; windows
    /// of 128 MiB.
    fn default() -> Self {
        Self { max_output: 2 << 40, max_data: 64 << 30, max_ratio: 400, zstd_window_log: 27 }
    }
}

/// Counts the output of a stream and checks its limits.
///
/// Blocks are aligned to the start of the stream, so the count does not depend on the chunks.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    produced: u64,
    /// The output bytes that are not in blocks of zeros.
    data: u64,
    /// Whether the current block has only zeros so far. These are not counted as data.
    zeros: bool,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, produced: 0, data: 0, zeros: true }
    }

    /// Returns the number of output bytes.
    pub(crate) fn produced(&self) -> u64 {
        self.produced
    }

    /// Counts the bytes of a chunk. Truncates it at a limit and returns the error.
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

    /// Counts bytes. If they exceed the limit on data, returns the number of bytes within it.
    fn count_bytes(&mut self, bytes: &[u8]) -> std::result::Result<(), usize> {
        let mut done = 0;
        while done < bytes.len() {
            let before = (self.produced % BLOCK as u64) as usize;
            let rest = &bytes[done..];
            let part = &rest[..rest.len().min(BLOCK - before)];
            let zeros = self.zeros && is_zero(part);
            if !zeros {
                // The block is not all zeros, so its earlier zeros count as data.
                let uncounted = if self.zeros { before as u64 } else { 0 };
                let left = self.limits.max_data - self.data;
                if uncounted + part.len() as u64 > left {
                    // Leading zeros of a block may be in the previous chunk, so they are always kept.
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

    /// Returns the number of bytes that can follow after `consumed` compressed bytes without exceeding the ratio,
    /// wherever it is checked.
    pub(crate) fn within_ratio(&self, consumed: u64) -> u64 {
        let most = consumed.saturating_mul(self.limits.max_ratio).max(Limits::RATIO_FREE_OUTPUT);
        // Zeros of the current block may become data.
        most.saturating_sub(self.data + BLOCK as u64)
    }
}

/// The size of a block in bytes: the unit in which file systems store holes.
const BLOCK: usize = 4096;

/// Returns true if all bytes are zero. This is fast, because other data usually differs in its first bytes.
fn is_zero(part: &[u8]) -> bool {
    part == &[0; BLOCK][..part.len()]
}

fn leading_zeros(part: &[u8]) -> usize {
    part.iter().take_while(|byte| **byte == 0).count()
}
