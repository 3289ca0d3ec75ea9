//! Chooses matches: the longest at a position, unless a longer one covers its end.

use super::chain::{Chain, Window};
use super::sequence::{LAST_MATCH, MIN_MATCH, Match, Output};

/// After this many positions without a match, only every second position is tried; after twice as many, every third.
const MISSES_PER_STEP: usize = 256;
/// The longest match that is kept whole when another overlaps its end: it needs no bytes for its length.
const SHORT_MATCH: usize = 18;

/// Encodes the longest prefix that fits into a block.
pub(super) struct Parse<'a> {
    chain: &'a mut Chain,
    window: Window<'a>,
    output: Output<'a>,
    attempts: u32,
}

impl<'a> Parse<'a> {
    pub(super) fn new(chain: &'a mut Chain, window: Window<'a>, output: Output<'a>, attempts: u32) -> Self {
        Self { chain, window, output, attempts }
    }

    /// Writes the block. Returns the position after the bytes that it holds.
    pub(super) fn run(mut self) -> usize {
        let mut position = self.window.start;
        while self.output.has_room_at(position) {
            let found = self.chain.longest(self.window, position, position, MIN_MATCH - 1, self.attempts);
            let Some(found) = found else {
                position += 1 + (position - self.output.done()) / MISSES_PER_STEP;
                continue;
            };
            if !self.write_matches(found) {
                break;
            }
            position = self.output.done();
        }
        self.output.finish()
    }

    /// Returns a longer match that covers the last two bytes of `taken`. The caller can cut it to the bytes after
    /// `taken`.
    fn longer_match(&mut self, taken: &Match) -> Option<Match> {
        if taken.end() + LAST_MATCH > self.window.segment.len() {
            return None;
        }
        self.chain.longest(self.window, taken.end() - 2, taken.start, taken.length, self.attempts)
    }

    /// Writes a match, and the longer ones that cover the end of the one before. Returns `false` when the block is
    /// full.
    fn write_matches(&mut self, mut taken: Match) -> bool {
        let mut dropped: Option<Match> = None;
        while let Some(mut longer) = self.longer_match(&taken) {
            if let Some(first) = dropped.take()
                && (first.start + MIN_MATCH..first.end()).contains(&longer.start)
            {
                // `longer` moved away from the dropped match, so that one fits again.
                taken = first;
            }
            if longer.start < taken.start + MIN_MATCH {
                dropped = Some(taken);
                taken = longer;
                continue;
            }
            let overlap = taken.end().saturating_sub(longer.start);
            if taken.length <= SHORT_MATCH && longer.length >= overlap + MIN_MATCH {
                longer.start += overlap;
                longer.length -= overlap;
            } else {
                taken.length -= overlap;
            }
            if !self.output.push(&taken) {
                return false;
            }
            taken = longer;
        }
        self.output.push(&taken)
    }
}
