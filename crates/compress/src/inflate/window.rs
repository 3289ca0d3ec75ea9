//! Where decoded bytes go, and what matches may refer to.

/// A chunk's buffer while it is decoded into.
///
/// After `limit` there is room for whatever one symbol decodes to ([`MARGIN`](crate::chunk::MARGIN)).
pub(super) struct Window<'a> {
    pub(super) buffer: &'a mut [u8],
    /// First byte that belongs to the stream and may be referred to.
    pub(super) floor: usize,
    /// Where the next byte goes.
    pub(super) pos: usize,
    /// Decoding stops when this is reached.
    pub(super) limit: usize,
}

impl Window<'_> {
    pub(super) fn is_full(&self) -> bool {
        self.pos >= self.limit
    }

    /// Whether there is a byte `distance` back.
    pub(super) fn reaches(&self, distance: usize) -> bool {
        distance <= self.pos - self.floor
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.buffer[self.pos] = byte;
        self.pos += 1;
    }

    /// Repeats `length` bytes from `distance` back, which may be among the repeated ones.
    pub(super) fn repeat(&mut self, distance: usize, length: usize) {
        for pos in self.pos..self.pos + length {
            self.buffer[pos] = self.buffer[pos - distance];
        }
        self.pos += length;
    }
}
