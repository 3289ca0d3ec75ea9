//! Where decoded symbols go, and which of them matches may refer to.

use super::symbol::Symbol;

/// A buffer while it is decoded into.
///
/// After `limit` there is room for whatever one symbol decodes to ([`MARGIN`](crate::chunk::MARGIN)).
pub(super) struct Window<'a, T> {
    pub(super) buffer: &'a mut [T],
    /// First symbol that belongs to the stream and may be referred to.
    pub(super) floor: usize,
    /// Where the next symbol goes.
    pub(super) pos: usize,
    /// Decoding stops when this is reached.
    pub(super) limit: usize,
}

impl<T: Symbol> Window<'_, T> {
    pub(super) fn is_full(&self) -> bool {
        self.pos >= self.limit
    }

    /// Whether there is a symbol `distance` back.
    pub(super) fn reaches(&self, distance: usize) -> bool {
        distance <= self.pos - self.floor
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.buffer[self.pos] = byte.into();
        self.pos += 1;
    }

    /// Repeats `length` symbols from `distance` back, which may be among the repeated ones.
    pub(super) fn repeat(&mut self, distance: usize, length: usize) {
        for pos in self.pos..self.pos + length {
            self.buffer[pos] = self.buffer[pos - distance];
        }
        self.pos += length;
    }
}
