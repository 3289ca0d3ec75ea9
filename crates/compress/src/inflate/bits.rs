//! The bits of a DEFLATE stream. The lowest bit of a byte comes first (RFC 1951 section 3.1.1).

use std::io::Read;

use crate::Result;
use crate::gzip::truncated;
use crate::input::Input;

/// Bits that were consumed from the input and are not decoded yet.
///
/// They are the lowest `count` bits of `buffer`; the lowest one comes first. Higher bits are zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bits {
    pub(super) buffer: u64,
    pub(super) count: u32,
}

impl Bits {
    /// Consumes bytes from the input until there are at least 56 bits, or the input ends.
    pub(super) fn top_up<R: Read>(&mut self, input: &mut Input<R>) -> Result<()> {
        let bytes = input.fill_to(8)?;
        let mut taken = 0;
        while self.count < 56
            && let Some(byte) = bytes.get(taken)
        {
            self.buffer |= u64::from(*byte) << self.count;
            self.count += 8;
            taken += 1;
        }
        input.consume(taken);
        Ok(())
    }

    /// Returns the next `n` bits, at most 32, without consuming them. Bits after the end of the input are zero.
    pub(super) fn peek(&self, n: u32) -> u32 {
        (self.buffer & ((1 << n) - 1)) as u32 // masked to 32 bits
    }

    /// Consumes the next `n` bits, at most 32. Call [`Self::top_up`] before, so that they are available.
    pub(super) fn take<R: Read>(&mut self, n: u32, input: &Input<R>) -> Result<u32> {
        if n > self.count {
            return Err(truncated(input));
        }
        let bits = self.peek(n);
        self.buffer >>= n;
        self.count -= n;
        Ok(bits)
    }

    /// Discards the bits up to the next byte boundary.
    pub(super) fn align(&mut self) {
        let odd = self.count % 8;
        self.buffer >>= odd;
        self.count -= odd;
    }

    /// Returns whole bytes to the input.
    pub(super) fn give_back<R: Read>(&mut self, input: &mut Input<R>) {
        input.give_back(self.count as usize / 8);
        self.count %= 8;
        self.buffer &= (1 << self.count) - 1;
    }
}
