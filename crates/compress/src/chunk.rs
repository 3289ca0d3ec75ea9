//! The buffers of decoded bytes.

use crate::budget::Permit;

/// The longest distance of a DEFLATE match in bytes (RFC 1951 section 2).
pub(crate) const HISTORY: usize = 32 << 10;

/// The space behind the capacity of a chunk in bytes: the longest DEFLATE match, some literals, and the overshoot of
/// word copies.
pub(crate) const MARGIN: usize = 320;

/// A contiguous buffer of decoded bytes, with space for [`HISTORY`] bytes before them.
///
/// With the space in front, DEFLATE matches into the previous chunk need no wraparound. With the [`MARGIN`] behind, a
/// decoder can finish the current match.
#[derive(Debug)]
pub(crate) struct Chunk {
    buffer: Box<[u8]>,
    end: usize,
    limit: usize,
    /// Bytes of the compressed stream that were consumed when the chunk was complete.
    pub(crate) consumed: u64,
    /// Present if the chunk is a piece that was decoded ahead.
    pub(crate) permit: Option<Permit>,
}

impl Chunk {
    /// Creates an empty chunk for `capacity` bytes, and up to [`MARGIN`] more.
    pub(crate) fn new(capacity: usize) -> Self {
        let limit = HISTORY + capacity;
        Self { buffer: vec![0; limit + MARGIN].into(), end: HISTORY, limit, consumed: 0, permit: None }
    }

    /// Returns the size in bytes without the margin.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.len() - MARGIN - HISTORY
    }

    /// Returns the decoded bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[HISTORY..self.end]
    }

    /// Returns the number of decoded bytes.
    pub(crate) fn len(&self) -> usize {
        self.end - HISTORY
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.end >= self.limit()
    }

    /// Empties the chunk and sets its limit to its capacity.
    pub(crate) fn clear(&mut self) {
        self.end = HISTORY;
        self.limit = HISTORY + self.capacity();
    }

    /// Sets the limit to `capacity` bytes, or to the size of the chunk if that is less.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.limit = HISTORY + capacity.min(self.capacity());
    }

    /// Reclaims the memory of a piece. Returns the chunk if it is not a piece.
    pub(crate) fn give_back(mut self) -> Option<Self> {
        match self.permit.take() {
            Some(permit) => {
                permit.release(self);
                None
            }
            None => Some(self),
        }
    }

    /// Removes the bytes after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.end = self.end.min(HISTORY + len);
    }

    /// Sets the number of decoded bytes. Their values do not change.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.end = HISTORY + len;
    }

    /// Replaces the last bytes, and the history before them if `last` is longer.
    pub(crate) fn set_last(&mut self, last: impl DoubleEndedIterator<Item = u8>) {
        for (byte, new) in self.buffer[..self.end].iter_mut().rev().zip(last.rev()) {
            *byte = new;
        }
    }

    /// Returns the free space up to the limit.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let limit = self.limit().max(self.end);
        &mut self.buffer[self.end..limit]
    }

    /// Adds the first `n` bytes of [`Self::room`] to the decoded bytes.
    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.buffer.len());
        self.end += n;
    }

    /// Returns the whole buffer, and the end of the decoded bytes in it.
    pub(crate) fn parts(&mut self) -> (&mut [u8], &mut usize) {
        (&mut self.buffer, &mut self.end)
    }

    /// Returns the position of the limit in the buffer.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}
