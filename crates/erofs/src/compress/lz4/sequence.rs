//! Serialises sequences: literals and the match that follows them.
//!
//! Source: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>.

/// The fewest bytes of a match.
pub(super) const MIN_MATCH: usize = 4;
/// The largest distance of a match.
pub(super) const MAX_DISTANCE: usize = 65_535;
/// The fewest literals at the end of a block.
pub(super) const LAST_LITERALS: usize = 5;
/// The fewest bytes from the start of the last match to the end of the block.
pub(super) const LAST_MATCH: usize = 12;
/// Bytes of a token and a distance.
const MATCH_BYTES: usize = 3;
/// The bytes that must stay free after a match of any length: a token and literals.
const END_BYTES: usize = 1 + LAST_MATCH - MIN_MATCH;
/// Lengths from this one on need further bytes.
const LONG_LENGTH: usize = 15;

/// A repetition of earlier bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) length: usize,
    /// Distance to the earlier bytes, at most [`MAX_DISTANCE`].
    pub(super) distance: usize,
}

impl Match {
    pub(super) fn end(&self) -> usize {
        self.start + self.length
    }
}

/// A block that is being written.
pub(super) struct Output<'a> {
    segment: &'a [u8],
    /// The first byte of the segment that is not in the block yet.
    done: usize,
    block: &'a mut Vec<u8>,
    /// The bytes that are still free.
    space: usize,
}

impl<'a> Output<'a> {
    /// Creates a block of at most `space` bytes that begins with the segment's byte at `start` and is appended to
    /// `block`.
    pub(super) fn new(segment: &'a [u8], start: usize, block: &'a mut Vec<u8>, space: usize) -> Self {
        Self { segment, done: start, block, space }
    }

    /// Returns the end of the segment's bytes that are in the block.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Returns whether a match may begin at `position` and has room.
    pub(super) fn has_room_at(&self, position: usize) -> bool {
        position + LAST_MATCH <= self.segment.len() && position - self.done + MATCH_BYTES + END_BYTES < self.space
    }

    /// Writes the literals up to a match, then the match or the part of it that fits. Returns `false` if it did not fit
    /// whole.
    pub(super) fn push(&mut self, found: &Match) -> bool {
        let literals = found.start - self.done;
        let fixed = MATCH_BYTES + literals + extra_bytes(literals);
        let Some(room) = self.space.checked_sub(fixed + END_BYTES) else { return false };
        let length = found.length.min(longest_match_in(room));
        let code = length - MIN_MATCH;
        self.write_literals(found.start, code);
        self.block.extend_from_slice(&(found.distance as u16).to_le_bytes()); // at most MAX_DISTANCE
        write_extra(code, self.block);
        self.done = found.start + length;
        self.space -= fixed + extra_bytes(code);
        length == found.length
    }

    /// Writes as many literals as fit. Returns the end of the block's bytes in the segment.
    pub(super) fn finish(mut self) -> usize {
        let end = self.segment.len().min(self.done + literals_in(self.space));
        self.write_literals(end, 0);
        end
    }

    /// Writes a token and the literals up to `end`.
    fn write_literals(&mut self, end: usize, match_code: usize) {
        let literals = &self.segment[self.done..end];
        let token = literals.len().min(LONG_LENGTH) << 4 | match_code.min(LONG_LENGTH);
        self.block.push(token as u8); // two numbers of four bits
        write_extra(literals.len(), self.block);
        self.block.extend_from_slice(literals);
    }
}

/// Returns the bytes that a length takes besides its half of the token.
fn extra_bytes(length: usize) -> usize {
    if length < LONG_LENGTH { 0 } else { (length - LONG_LENGTH) / 255 + 1 }
}

fn write_extra(length: usize, block: &mut Vec<u8>) {
    if let Some(rest) = length.checked_sub(LONG_LENGTH) {
        block.resize(block.len() + rest / 255, 255);
        block.push((rest % 255) as u8); // below 255
    }
}

/// Returns the longest match whose length takes at most `room` bytes besides the token.
fn longest_match_in(room: usize) -> usize {
    MIN_MATCH + LONG_LENGTH - 1 + room * 255
}

/// Returns the most literals at the end of a block that, with their token, take at most `space` bytes.
fn literals_in(space: usize) -> usize {
    let mut literals = space - 1;
    while 1 + literals + extra_bytes(literals) > space {
        literals -= 1;
    }
    literals
}
