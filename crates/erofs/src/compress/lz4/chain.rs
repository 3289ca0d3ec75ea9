//! Hash chains over a segment: the earlier positions of the same four bytes.

use super::sequence::{LAST_LITERALS, MAX_DISTANCE, MIN_MATCH, Match};

/// Bits of a hash. The table has half the usual size of a core's private cache.
const HASH_BITS: u32 = 15;
/// Number of positions that are entered at a time. Entering them one by one would wait for a cache line of the table
/// each time.
const BATCH: usize = 512;

/// For each position of a segment, the distance to the previous position with the same hash.
///
/// The distances do not depend on where blocks begin: a search stops at the first position before its block. So nothing
/// is cleared between blocks, and positions can be entered before a block reaches them. A distance can be wrong,
/// because of another four bytes with the same hash or because of the 16-bit positions. So each candidate is compared.
pub(super) struct Chain {
    /// The last position with each hash, modulo 65,536.
    heads: Vec<u16>,
    /// The distance to the previous position, modulo 65,536; 0 if there is none.
    distances: Vec<u16>,
    /// All positions below this one are entered.
    entered: usize,
}

/// The bytes that a block may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) segment: &'a [u8],
    /// The start of the block. Matches neither begin nor refer to bytes before it.
    pub(super) start: usize,
}

impl Chain {
    pub(super) fn new() -> Self {
        Self { heads: vec![0; 1 << HASH_BITS], distances: Vec::new(), entered: 0 }
    }

    /// Clears the chain for a segment of `length` bytes.
    pub(super) fn begin(&mut self, length: usize) {
        self.heads.fill(0);
        if self.distances.len() < length {
            self.distances.resize(length, 0);
        }
        self.entered = 0;
    }

    /// Enters all positions up to and including `position`, which must be at least four bytes before the segment's end.
    #[inline]
    fn enter(&mut self, segment: &[u8], position: usize) {
        if position < self.entered {
            return;
        }
        let from = self.entered;
        let to = (position + BATCH).min(segment.len() - MIN_MATCH + 1);
        let words = segment[from..to + MIN_MATCH - 1].windows(MIN_MATCH);
        let mut here = from as u16; // modulo 65,536
        for (word, distance) in words.zip(&mut self.distances[from..to]) {
            let word = u32::from_le_bytes(*word.first_chunk().expect("a window has its length"));
            let hash = word.wrapping_mul(2_654_435_761) >> (u32::BITS - HASH_BITS);
            let head = &mut self.heads[hash as usize];
            *distance = here.wrapping_sub(*head);
            *head = here;
            here = here.wrapping_add(1);
        }
        self.entered = to;
    }

    /// Returns the longest match that covers the four bytes at `position`, begins at or after `low`, ends where a match
    /// may end, and has more than `length` bytes. Of several, returns the nearest. Compares at most `attempts`
    /// candidates.
    ///
    /// `length` must be at least three, and at least `position - low`.
    pub(super) fn longest(
        &mut self,
        window: Window<'_>,
        position: usize,
        low: usize,
        mut length: usize,
        attempts: u32,
    ) -> Option<Match> {
        let segment = window.segment;
        self.enter(segment, position);
        let from = window.start.max(position.saturating_sub(MAX_DISTANCE));
        let (before, ahead) = segment[..segment.len() - LAST_LITERALS].split_at(position);
        let before = &before[low..];
        let word: &[u8; MIN_MATCH] = ahead.first_chunk()?;
        let mut found = None;
        let mut candidate = position;
        for _ in 0..attempts {
            let distance = usize::from(self.distances[candidate]);
            if distance == 0 || candidate - from < distance {
                break;
            }
            candidate -= distance;
            // Every longer match contains this byte, wherever it begins.
            let beyond = length - before.len();
            let Some(byte) = ahead.get(beyond) else { break };
            let behind = &segment[candidate..];
            if behind[beyond] != *byte || behind.first_chunk() != Some(word) {
                continue;
            }
            let backward = same_at_end(before, &segment[from..candidate]);
            let total = backward + same_at_start(ahead, behind);
            if total > length {
                length = total;
                found = Some(Match { start: position - backward, length, distance: position - candidate });
            }
        }
        found
    }
}

/// Returns the length of the common prefix of two slices.
#[inline]
fn same_at_start(one: &[u8], other: &[u8]) -> usize {
    let other = &other[..one.len().min(other.len())];
    let one = &one[..other.len()];
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    for (index, (word, other)) in words.iter().zip(other_words).enumerate() {
        let difference = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return index * 8 + difference.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().zip(other_rest).take_while(|(byte, other)| byte == other).count()
}

/// Returns the length of the common suffix of two slices.
#[inline]
fn same_at_end(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(byte, other)| byte == other).count()
}
