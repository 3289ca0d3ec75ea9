//! The buffer that decoded bytes are made in and handed over in.

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
    /// Bytes of the compressed stream that were consumed when this chunk was done.
    pub(crate) consumed: u64,
}

impl Chunk {
    /// An empty chunk for `capacity` bytes, and up to [`MARGIN`] more.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { buffer: vec![0; HISTORY + capacity + MARGIN].into(), end: HISTORY, consumed: 0 }
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

    pub(crate) fn clear(&mut self) {
        self.end = HISTORY;
    }

    /// Drops the bytes after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.end = self.end.min(HISTORY + len);
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
        self.buffer.len() - MARGIN
    }
}
