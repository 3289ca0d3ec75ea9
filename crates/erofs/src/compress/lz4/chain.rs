//! Where the same four bytes were before: hash chains over a segment.

use super::sequence::{LAST_LITERALS, MAX_DISTANCE, MIN_MATCH};

/// The table of hashes is half as large as a core's own cache usually is.
const HASH_BITS: u32 = 15;
/// Positions are entered so many at a time: one by one, each would wait for the table's cache line.
const BATCH: usize = 512;

/// For each position of a segment, how far back the last one with the same hash is.
///
/// That does not depend on where blocks begin: a search just stops at the first position before its block. So nothing is
/// cleared between blocks, and positions may be entered long before a block gets there. What a hash says may be wrong,
/// for another four bytes have it or it is from 65,536 bytes ago: each candidate is compared anyway.
pub(super) struct Chain {
    /// The last position with each hash, lower 16 bits.
    heads: Vec<u16>,
    /// The distance to the position before, modulo 65,536; 0 when there is none.
    distances: Vec<u16>,
    /// Positions below this are entered.
    entered: usize,
}

/// What a block may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) segment: &'a [u8],
    /// Where the block begins: matches neither begin nor point before.
    pub(super) start: usize,
}

/// Bytes that were there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) length: usize,
    /// How far back; [`MAX_DISTANCE`] at most.
    pub(super) distance: usize,
}

impl Match {
    pub(super) fn end(&self) -> usize {
        self.start + self.length
    }
}

impl Chain {
    pub(super) fn new() -> Self {
        Self { heads: vec![0; 1 << HASH_BITS], distances: Vec::new(), entered: 0 }
    }

    /// Forgets the last segment; the next is `length` bytes long.
    pub(super) fn begin(&mut self, length: usize) {
        self.heads.fill(0);
        if self.distances.len() < length {
            self.distances.resize(length, 0);
        }
        self.entered = 0;
    }

    /// Enters all positions up to and with `position`, which is at least four bytes before the segment's end.
    #[inline]
    fn enter(&mut self, segment: &[u8], position: usize) {
        if position < self.entered {
            return;
        }
        let from = self.entered;
        let to = (position + BATCH).min(segment.len() - MIN_MATCH + 1);
        let words = segment[from..to + MIN_MATCH - 1].windows(MIN_MATCH);
        let mut here = from as u16; // its lower bits
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

    /// The longest match that covers the four bytes at `position`, begins at `low` or after, ends where a match may, and
    /// has more than `length` bytes, at least three and those up to `position`. The nearest of several; `attempts`
    /// candidates are looked at.
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
            // A longer match has this byte in it, wherever it begins.
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

/// How many bytes are the same at the start of two slices.
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

/// How many bytes are the same at the end of two slices.
#[inline]
fn same_at_end(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(byte, other)| byte == other).count()
}
