//! Which matches are taken: the longest that begins somewhere, unless a longer one covers its end.

use super::chain::{Chain, Match, Window};
use super::sequence::{LAST_MATCH, MIN_MATCH, Output};

/// After so many positions without a match every second one is looked at, after twice as many every third.
const PATIENCE: usize = 256;
/// Where two matches overlap, one up to this long stays whole: it needs no bytes for its length.
const SHORT: usize = 18;

/// Encodes the longest prefix that fits.
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

    /// Writes the block; gives the position behind what it holds.
    pub(super) fn run(mut self) -> usize {
        let mut position = self.window.start;
        while self.output.has_room_at(position) {
            let found = self.chain.longest(self.window, position, position, MIN_MATCH - 1, self.attempts);
            let Some(found) = found else {
                position += 1 + (position - self.output.done()) / PATIENCE;
                continue;
            };
            if !self.take(found) {
                break;
            }
            position = self.output.done();
        }
        self.output.finish()
    }

    /// A longer match that covers the last two bytes of one, and may be cut to what follows it.
    fn longer(&mut self, taken: &Match) -> Option<Match> {
        if taken.end() + LAST_MATCH > self.window.segment.len() {
            return None;
        }
        self.chain.longest(self.window, taken.end() - 2, taken.start, taken.length, self.attempts)
    }

    /// Writes a match, and those that cover the end of the one before. `false` when the block is full.
    fn take(&mut self, mut taken: Match) -> bool {
        let mut dropped: Option<Match> = None;
        while let Some(mut longer) = self.longer(&taken) {
            if let Some(first) = dropped.take()
                && (first.start + MIN_MATCH..first.end()).contains(&longer.start)
            {
                // It made room for a match that had to make room in turn: there is room for it again.
                taken = first;
            }
            if longer.start < taken.start + MIN_MATCH {
                dropped = Some(taken);
                taken = longer;
                continue;
            }
            let overlap = taken.end().saturating_sub(longer.start);
            if taken.length <= SHORT && longer.length >= overlap + MIN_MATCH {
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
