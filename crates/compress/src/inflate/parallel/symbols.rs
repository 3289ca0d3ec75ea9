//! Symbols that are bytes or marks.
//!
//! If decoding begins in the middle of a stream, the 32 KiB before it are unknown. Each of these bytes has a mark.
//! Matches copy marks like bytes.

use crate::chunk::{HISTORY, MARGIN};

/// The mark of the first byte of the history. Lower values are bytes.
const FIRST: u16 = 1 << 8;

/// Symbols that were decoded while marks remained, and the history before them.
#[derive(Debug)]
pub(crate) struct Symbols {
    pub(super) buffer: Box<[u16]>,
    /// The position of the next symbol.
    pub(super) end: usize,
}

impl Symbols {
    /// Creates an empty buffer for `capacity` symbols.
    pub(crate) fn new(capacity: usize) -> Self {
        let mut buffer: Box<[u16]> = vec![0; HISTORY + capacity + MARGIN].into();
        for (mark, at) in buffer[..HISTORY].iter_mut().zip(FIRST..) {
            *mark = at;
        }
        Self { buffer, end: HISTORY }
    }

    /// Removes the symbols. The history consists of marks and does not change.
    pub(super) fn clear(&mut self) {
        self.end = HISTORY;
    }

    pub(crate) fn len(&self) -> usize {
        self.end - HISTORY
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.end = self.end.min(HISTORY + len);
    }

    /// Returns the number of symbols that still fit.
    pub(super) fn room(&self) -> usize {
        (self.buffer.len() - MARGIN).saturating_sub(self.end)
    }

    /// Returns true if matches cannot reach any marks, because the last symbols are all bytes.
    pub(super) fn are_all_bytes(&self) -> bool {
        self.buffer[self.end - HISTORY..self.end].iter().fold(0, |all, symbol| all | symbol) < FIRST
    }

    /// Returns the last symbols, which must be bytes.
    pub(super) fn last_bytes(&self) -> impl DoubleEndedIterator<Item = u8> {
        self.buffer[self.end - HISTORY..self.end].iter().map(|symbol| *symbol as u8)
    }

    /// Returns the largest distance of a mark from the first symbol.
    pub(super) fn reach(&self) -> usize {
        let symbols = &self.buffer[HISTORY..self.end];
        // Bytes wrap around to values above all marks.
        let earliest = symbols.iter().fold(u16::MAX, |least, symbol| least.min(symbol.wrapping_sub(FIRST)));
        HISTORY.saturating_sub(usize::from(earliest))
    }

    /// Writes the symbols as bytes. Marks are replaced by bytes of the history.
    pub(super) fn resolve(&self, table: &ByteTable, out: &mut [u8]) {
        for (symbol, byte) in self.buffer[HISTORY..self.end].iter().zip(out) {
            *byte = table.0[usize::from(*symbol)];
        }
    }
}

/// The byte for each symbol.
pub(crate) struct ByteTable(Box<[u8; 1 << 16]>);

impl ByteTable {
    pub(super) fn new(history: &[u8; HISTORY]) -> Self {
        let mut table = Box::new([0; 1 << 16]);
        for (byte, value) in (0..=u8::MAX).zip(table.iter_mut()) {
            *value = byte;
        }
        table[usize::from(FIRST)..][..HISTORY].copy_from_slice(history);
        Self(table)
    }
}
