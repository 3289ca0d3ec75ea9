//! Symbols that are bytes or marks.
//!
//! Where decoding begins in the middle of a stream, the 32 KiB before are not known. A mark stands for each byte of them.
//! Matches copy marks as they copy bytes.

use crate::chunk::{HISTORY, MARGIN};

/// The mark of the earliest byte of the history; all below are bytes.
const FIRST: u16 = 1 << 8;

/// Symbols that were decoded while marks were left, with the history before them.
#[derive(Debug)]
pub(crate) struct Symbols {
    pub(super) buffer: Box<[u16]>,
    /// Where the next one goes.
    pub(super) end: usize,
}

impl Symbols {
    /// Room for so many.
    pub(crate) fn new(capacity: usize) -> Self {
        let mut buffer: Box<[u16]> = vec![0; HISTORY + capacity + MARGIN].into();
        for (mark, at) in buffer[..HISTORY].iter_mut().zip(FIRST..) {
            *mark = at;
        }
        Self { buffer, end: HISTORY }
    }

    /// Forgets them, but for the history, which is all marks and stays so.
    pub(super) fn clear(&mut self) {
        self.end = HISTORY;
    }

    pub(crate) fn len(&self) -> usize {
        self.end - HISTORY
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.end = self.end.min(HISTORY + len);
    }

    /// How many more there is room for.
    pub(super) fn room(&self) -> usize {
        (self.buffer.len() - MARGIN).saturating_sub(self.end)
    }

    /// Whether no mark is among the last ones, which a match can reach.
    pub(super) fn are_known(&self) -> bool {
        self.buffer[self.end - HISTORY..self.end].iter().fold(0, |all, symbol| all | symbol) < FIRST
    }

    /// The last ones, which are bytes.
    pub(super) fn last(&self) -> impl DoubleEndedIterator<Item = u8> {
        self.buffer[self.end - HISTORY..self.end].iter().map(|symbol| *symbol as u8)
    }

    /// How far before the first one marks reach.
    pub(super) fn reach(&self) -> usize {
        let symbols = &self.buffer[HISTORY..self.end];
        // Bytes wrap around and come after all marks.
        let earliest = symbols.iter().fold(u16::MAX, |least, symbol| least.min(symbol.wrapping_sub(FIRST)));
        HISTORY.saturating_sub(usize::from(earliest))
    }

    /// Writes them as bytes, those of the history in the place of marks.
    pub(super) fn resolve(&self, meanings: &Meanings, out: &mut [u8]) {
        for (symbol, byte) in self.buffer[HISTORY..self.end].iter().zip(out) {
            *byte = meanings.0[usize::from(*symbol)];
        }
    }
}

/// The byte that each symbol stands for.
pub(crate) struct Meanings(Box<[u8; 1 << 16]>);

impl Meanings {
    pub(super) fn new(history: &[u8; HISTORY]) -> Self {
        let mut meanings = Box::new([0; 1 << 16]);
        for (byte, meaning) in (0..=u8::MAX).zip(meanings.iter_mut()) {
            *meaning = byte;
        }
        meanings[usize::from(FIRST)..][..HISTORY].copy_from_slice(history);
        Self(meanings)
    }
}
