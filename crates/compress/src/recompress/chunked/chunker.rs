//! Dividing the data of a file into chunks, at places that depend on the data around them.
//!
//! The places are those of containers/storage, so that equal data in layers of both has equal chunks.

/// The least length of a run of zeros that is a chunk of its own, in bytes.
const HOLE: u64 = 1 << 10;

/// The bits of the checksum that are ones at the end of a chunk. The mean size of a chunk is 2 to this power.
const BITS: u32 = 16;

static ZEROS: [u8; HOLE as usize] = [0; HOLE as usize];

/// A receiver of chunks.
pub(super) trait Chunks {
    type Error;

    /// Adds bytes to the current chunk.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Ends the current chunk, which may be empty.
    fn end(&mut self, is_zeros: bool) -> Result<(), Self::Error>;
}

/// The state of dividing one file.
#[derive(Debug, Default)]
pub(super) struct Chunker {
    sum: RollingSum,
    /// The number of zeros that were read last and not passed on.
    zeros: u64,
    is_in_hole: bool,
}

impl Chunker {
    /// Passes the next bytes of the file on, except for zeros at their end.
    pub(super) fn feed<C: Chunks>(&mut self, mut bytes: &[u8], chunks: &mut C) -> Result<(), C::Error> {
        while !bytes.is_empty() {
            bytes = if self.is_in_hole { self.hole(bytes, chunks)? } else { self.until_hole(bytes, chunks)? };
        }
        Ok(())
    }

    /// Passes on the end of the file.
    pub(super) fn finish<C: Chunks>(mut self, chunks: &mut C) -> Result<(), C::Error> {
        self.pass_zeros(chunks)?;
        chunks.end(self.is_in_hole)
    }

    /// Passes zeros on up to the end of the hole. Returns the rest.
    fn hole<'a, C: Chunks>(&mut self, bytes: &'a [u8], chunks: &mut C) -> Result<&'a [u8], C::Error> {
        let n = leading_zeros(bytes);
        chunks.data(&bytes[..n])?;
        self.sum.add_zeros(n as u64);
        if n < bytes.len() {
            self.is_in_hole = false;
            chunks.end(true)?;
        }
        Ok(&bytes[n..])
    }

    /// Passes data on up to the start of a hole. Returns the rest.
    fn until_hole<'a, C: Chunks>(&mut self, bytes: &'a [u8], chunks: &mut C) -> Result<&'a [u8], C::Error> {
        let mut at = 0;
        let mut zeros = leading_zeros(bytes);
        if self.zeros + (zeros as u64) < HOLE && zeros < bytes.len() {
            // The zeros before these bytes are data.
            self.pass_zeros(chunks)?;
        }
        while self.zeros + (zeros as u64) < HOLE {
            if at + zeros == bytes.len() {
                self.zeros += zeros as u64;
                return self.data(&bytes[..at], chunks).map(|()| &bytes[bytes.len()..]);
            }
            at += zeros;
            at += bytes[at..].iter().position(|byte| *byte == 0).unwrap_or(bytes.len() - at);
            zeros = leading_zeros(&bytes[at..]);
        }
        self.data(&bytes[..at], chunks)?;
        chunks.end(false)?;
        self.is_in_hole = true;
        let before = std::mem::take(&mut self.zeros);
        chunks.data(&ZEROS[..before as usize])?; // less than HOLE
        self.sum.add_zeros(before);
        Ok(&bytes[at..])
    }

    fn pass_zeros<C: Chunks>(&mut self, chunks: &mut C) -> Result<(), C::Error> {
        let zeros = std::mem::take(&mut self.zeros) as usize; // less than HOLE
        self.data(&ZEROS[..zeros], chunks)
    }

    /// Passes data on, with the ends of chunks in it.
    fn data<C: Chunks>(&mut self, bytes: &[u8], chunks: &mut C) -> Result<(), C::Error> {
        let mut start = 0;
        for (at, byte) in bytes.iter().enumerate() {
            self.sum.add(*byte);
            if self.sum.is_end() {
                chunks.data(&bytes[start..=at])?;
                chunks.end(false)?;
                start = at + 1;
            }
        }
        chunks.data(&bytes[start..])
    }
}

fn leading_zeros(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())
}

/// The rolling checksum of rsync and bup, over a window of 64 bytes.
#[derive(Debug)]
struct RollingSum {
    first: u32,
    second: u32,
    window: [u8; WINDOW as usize],
    at: usize,
}

const WINDOW: u32 = 64;

/// The number that is added to each byte, so that zeros count.
const OFFSET: u32 = 31;

impl Default for RollingSum {
    fn default() -> Self {
        Self { first: WINDOW * OFFSET, second: WINDOW * (WINDOW - 1) * OFFSET, window: [0; WINDOW as usize], at: 0 }
    }
}

impl RollingSum {
    fn add(&mut self, byte: u8) {
        let oldest = u32::from(std::mem::replace(&mut self.window[self.at], byte));
        self.at = (self.at + 1) % self.window.len();
        self.first = self.first.wrapping_add(u32::from(byte)).wrapping_sub(oldest);
        self.second = self.second.wrapping_add(self.first).wrapping_sub(WINDOW * (oldest + OFFSET));
    }

    /// Adds zeros. From the size of the window on, more do not change the sums.
    fn add_zeros(&mut self, count: u64) {
        for _ in 0..count.min(u64::from(WINDOW)) {
            self.add(0);
        }
    }

    fn is_end(&self) -> bool {
        self.second & ((1 << BITS) - 1) == (1 << BITS) - 1
    }
}
