//! The buffer that decoded bytes are made in and handed over in.

use crate::budget::Permit;

/// How far back a DEFLATE match reaches, in bytes (RFC 1951 section 2).
pub(crate) const HISTORY: usize = 32 << 10;

/// Room after the nominal end of a chunk: the longest DEFLATE match, some literals, and the overshoot of word copies.
pub(crate) const MARGIN: usize = 320;

/// Decoded bytes, in one piece, with room for [`HISTORY`] bytes before them.
///
/// The room in front lets DEFLATE matches reach into what the previous chunk held without wrapping around; the
/// [`MARGIN`] behind lets a decoder finish the match it is at.
#[derive(Debug)]
pub(crate) struct Chunk {
    buffer: Box<[u8]>,
    end: usize,
    limit: usize,
    /// Bytes of the compressed stream that were consumed when this chunk was done.
    pub(crate) consumed: u64,
    /// Held while it is a piece that was decoded before its turn.
    pub(crate) permit: Option<Permit>,
}

impl Chunk {
    /// An empty chunk for `capacity` bytes, and up to [`MARGIN`] more.
    pub(crate) fn new(capacity: usize) -> Self {
        let limit = HISTORY + capacity;
        Self { buffer: vec![0; limit + MARGIN].into(), end: HISTORY, limit, consumed: 0, permit: None }
    }

    /// Bytes that it has room for, beside the margin.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.len() - MARGIN - HISTORY
    }

    /// The decoded bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[HISTORY..self.end]
    }

    /// How many decoded bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.end - HISTORY
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the capacity is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.end >= self.limit()
    }

    /// Empties it, and lets it be full with all that it has room for.
    pub(crate) fn clear(&mut self) {
        self.end = HISTORY;
        self.limit = HISTORY + self.capacity();
    }

    /// Lets it be full with `capacity` bytes, if it has room for so many.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.limit = HISTORY + capacity.min(self.capacity());
    }

    /// Gives the memory of a piece back; returns any other chunk.
    pub(crate) fn give_back(mut self) -> Option<Self> {
        match self.permit.take() {
            Some(permit) => {
                permit.end(self);
                None
            }
            None => Some(self),
        }
    }

    /// Drops the bytes after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.end = self.end.min(HISTORY + len);
    }

    /// Counts the first `len` bytes as decoded; they keep the values they have.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.end = HISTORY + len;
    }

    /// Replaces the last bytes, with the room before them if there are less.
    pub(crate) fn set_last(&mut self, last: impl DoubleEndedIterator<Item = u8>) {
        for (byte, new) in self.buffer[..self.end].iter_mut().rev().zip(last.rev()) {
            *byte = new;
        }
    }

    /// The room up to the capacity.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let limit = self.limit().max(self.end);
        &mut self.buffer[self.end..limit]
    }

    /// Counts `n` bytes, written to the beginning of [`Self::room`], as decoded.
    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.buffer.len());
        self.end += n;
    }

    /// The whole buffer, with the room before and after, and where in it the decoded bytes end.
    pub(crate) fn parts(&mut self) -> (&mut [u8], &mut usize) {
        (&mut self.buffer, &mut self.end)
    }

    /// Where in the buffer the capacity is reached.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}
