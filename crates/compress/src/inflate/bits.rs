//! The bits of a DEFLATE stream, lowest bit of each byte first (RFC 1951 section 3.1.1).

use std::io::Read;

use crate::Result;
use crate::gzip::truncated;
use crate::input::Input;

/// Bits taken from the input and not yet decoded.
///
/// They are in the low end of `buffer`, the next one lowest; what is above the first `count` is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bits {
    pub(super) buffer: u64,
    pub(super) count: u32,
}

impl Bits {
    /// Takes bytes from the input until at least 56 bits are here, or the input is at its end.
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

    /// The next `n` bits, at most 32, without taking them; zeros stand for those after the end of the input.
    pub(super) fn peek(&self, n: u32) -> u32 {
        (self.buffer & ((1 << n) - 1)) as u32 // masked to 32 bits
    }

    /// Takes the next `n` bits, at most 32, which [`Self::top_up`] is to have made available.
    pub(super) fn take<R: Read>(&mut self, n: u32, input: &Input<R>) -> Result<u32> {
        if n > self.count {
            return Err(truncated(input));
        }
        let bits = self.peek(n);
        self.buffer >>= n;
        self.count -= n;
        Ok(bits)
    }

    /// Drops the bits up to the next byte of the stream.
    pub(super) fn align(&mut self) {
        let odd = self.count % 8;
        self.buffer >>= odd;
        self.count -= odd;
    }

    /// Gives the whole bytes back to the input.
    pub(super) fn give_back<R: Read>(&mut self, input: &mut Input<R>) {
        input.give_back(self.count as usize / 8);
        self.count %= 8;
        self.buffer &= (1 << self.count) - 1;
    }
}
