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
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    produced: u64,
    /// Of them, the bytes that are not in blocks of zeros.
    data: u64,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, produced: 0, data: 0 }
    }

    /// Counts what is in a chunk. What goes over a limit is taken out of it, and is an error.
    pub(crate) fn count(&mut self, chunk: &mut Chunk) -> Result<()> {
        let (length, data) = (chunk.len() as u64, data_in(chunk.bytes()));
        let room = self.limits.max_output - self.produced;
        let room_for_data = self.limits.max_data - self.data;
        if length <= room && data <= room_for_data {
            self.produced += length;
            self.data += data;
            return self.check_ratio(chunk.consumed);
        }
        // Both are less than the chunk's length where they matter, so they fit.
        let within_data = front_with(chunk.bytes(), room_for_data);
        let (kept, error) = if (within_data as u64) < room {
            (within_data, Error::DataLimit { limit: self.limits.max_data })
        } else {
            (room as usize, Error::OutputLimit { limit: self.limits.max_output })
        };
        chunk.truncate(kept);
        Err(error)
    }

    fn check_ratio(&self, consumed: u64) -> Result<()> {
        let (limit, produced) = (self.limits.max_ratio, self.data);
        if produced > Limits::RATIO_FREE_OUTPUT && produced > consumed.saturating_mul(limit) {
            return Err(Error::RatioLimit { limit, consumed, produced });
        }
        Ok(())
    }
}

/// The blocks that are looked at: those that a file system can leave out.
const BLOCK: usize = 4096;

/// A block that is not all zeros mostly shows so at its first bytes: looking for zeros costs next to nothing.
fn is_zero(block: &[u8]) -> bool {
    block == [0; BLOCK]
}

/// How many bytes are not in blocks of zeros.
fn data_in(bytes: &[u8]) -> u64 {
    let zeros = bytes.chunks_exact(BLOCK).filter(|block| is_zero(block)).count() * BLOCK;
    (bytes.len() - zeros) as u64
}

/// The length of the longest front in which at most so many bytes are not in blocks of zeros.
fn front_with(bytes: &[u8], mut data: u64) -> usize {
    let mut end = 0;
    for block in bytes.chunks(BLOCK) {
        if !is_zero(block) {
            if block.len() as u64 > data {
                return end + data as usize;
            }
            data -= block.len() as u64;
        }
        end += block.len();
    }
    end
}
