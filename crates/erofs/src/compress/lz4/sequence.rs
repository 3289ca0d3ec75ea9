//! Sequences, which are literals and the match that follows them: what they cost, and how they are written.
//!
//! <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>

use super::chain::Match;

/// The shortest match.
pub(super) const MIN_MATCH: usize = 4;
/// The farthest that a match reaches back.
pub(super) const MAX_DISTANCE: usize = 65_535;
/// A block ends in at least so many literals.
pub(super) const LAST_LITERALS: usize = 5;
/// The last match of a block begins at least so many bytes before its end.
pub(super) const LAST_MATCH: usize = 12;
/// A token, and a distance.
const MATCH: usize = 3;
/// What must have room after a match, however short it is: a token and literals.
const END: usize = 1 + LAST_MATCH - MIN_MATCH;
/// Lengths from this on continue in bytes of their own.
const LONG: usize = 15;

/// A block that is being written.
pub(super) struct Output<'a> {
    segment: &'a [u8],
    /// Bytes of the segment below this are in it.
    done: usize,
    block: &'a mut Vec<u8>,
    /// Bytes that it may still get.
    space: usize,
}

impl<'a> Output<'a> {
    /// A block of at most `space` bytes, to be appended to `block`, which begins with the byte at `start`.
    pub(super) fn new(segment: &'a [u8], start: usize, block: &'a mut Vec<u8>, space: usize) -> Self {
        Self { segment, done: start, block, space }
    }

    /// Where the bytes of the segment end that are in it.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Whether a match may begin at `position`, and would have room.
    pub(super) fn has_room_at(&self, position: usize) -> bool {
        position + LAST_MATCH <= self.segment.len() && position - self.done + MATCH + END < self.space
    }

    /// Writes the literals up to a match, and it, or as much of it as there is room for. `false` when that is the last.
    pub(super) fn push(&mut self, found: &Match) -> bool {
        let literals = found.start - self.done;
        let fixed = MATCH + literals + extra_bytes(literals);
        let Some(room) = self.space.checked_sub(fixed + END) else { return false };
        let length = found.length.min(longest_in(room));
        let code = length - MIN_MATCH;
        self.write_literals(found.start, code);
        self.block.extend_from_slice(&(found.distance as u16).to_le_bytes()); // at most MAX_DISTANCE
        write_extra(code, self.block);
        self.done = found.start + length;
        self.space -= fixed + extra_bytes(code);
        length == found.length
    }

    /// Writes as many literals as there is room for; gives where the block's bytes end.
    pub(super) fn finish(mut self) -> usize {
        let end = self.segment.len().min(self.done + literals_in(self.space));
        self.write_literals(end, 0);
        end
    }

    /// Writes a token, and the literals up to `end`.
    fn write_literals(&mut self, end: usize, match_code: usize) {
        let literals = &self.segment[self.done..end];
        let token = literals.len().min(LONG) << 4 | match_code.min(LONG);
        self.block.push(token as u8); // two numbers of four bits
        write_extra(literals.len(), self.block);
        self.block.extend_from_slice(literals);
    }
}

/// The bytes that a length takes besides its half of the token.
fn extra_bytes(length: usize) -> usize {
    if length < LONG { 0 } else { (length - LONG) / 255 + 1 }
}

fn write_extra(length: usize, block: &mut Vec<u8>) {
    if let Some(rest) = length.checked_sub(LONG) {
        block.resize(block.len() + rest / 255, 255);
        block.push((rest % 255) as u8); // below 255
    }
}

/// The longest match of which the length takes at most `room` bytes besides the token.
fn longest_in(room: usize) -> usize {
    MIN_MATCH + LONG - 1 + room * 255
}

/// The largest number of literals at the end of a block that, with their token, take at most `space` bytes.
fn literals_in(space: usize) -> usize {
    let mut literals = space - 1;
    while 1 + literals + extra_bytes(literals) > space {
        literals -= 1;
    }
    literals
}
