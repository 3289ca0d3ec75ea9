//! The output of decoded symbols, and the range that matches may refer to.

use super::symbol::Symbol;

/// The buffer that is being decoded into.
///
/// Behind `limit` there is space for the output of any symbol ([`MARGIN`](crate::chunk::MARGIN)).
pub(super) struct Window<'a, T> {
    pub(super) buffer: &'a mut [T],
    /// The position of the first symbol of the stream. Matches cannot refer to earlier ones.
    pub(super) floor: usize,
    /// The position of the next symbol.
    pub(super) pos: usize,
    /// The position at which decoding stops.
    pub(super) limit: usize,
}

impl<T: Symbol> Window<'_, T> {
    pub(super) fn is_full(&self) -> bool {
        self.pos >= self.limit
    }

    /// Returns true if there is a symbol at `distance` before the current position.
    pub(super) fn reaches(&self, distance: usize) -> bool {
        distance <= self.pos - self.floor
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.buffer[self.pos] = byte.into();
        self.pos += 1;
    }

    /// Repeats `length` symbols from `distance` back. They may overlap with the output.
    pub(super) fn repeat(&mut self, distance: usize, length: usize) {
        for pos in self.pos..self.pos + length {
            self.buffer[pos] = self.buffer[pos - distance];
        }
        self.pos += length;
    }
}
