//! Finding the probable starts of blocks in the middle of a stream.
//!
//! Blocks have no start marker, so their start is guessed. In the header of a block with dynamic codes, the code for
//! code lengths must be complete. A stored block has its length twice. A position with either property is a candidate.
//! Most wrong candidates fail when the rest of the header is read.

/// The bits of a header before the lengths of the code for code lengths: type and three counts.
const COUNTS: u64 = 17;

/// Finds candidates in a part of a stream, from its first bit on.
pub(super) struct Finder {
    /// The position of the next group in bytes.
    next: usize,
    /// The position of the current group in bytes.
    group: usize,
    /// The bits of the current group that are still to be tried.
    left: u64,
    end: usize,
}

/// The number of bytes that are examined together.
const GROUP: usize = 4;

impl Finder {
    /// Creates a finder for candidates in the first `end` bytes of a part.
    pub(super) fn new(end: usize) -> Self {
        Self { next: 0, group: 0, left: 0, end }
    }

    /// Returns the next candidate in `part`: the bit at which its header begins.
    ///
    /// The header of a stored block may begin up to seven bits earlier, because the padding is zero, too.
    pub(super) fn next(&mut self, part: &[u8]) -> Option<u64> {
        loop {
            while self.left != 0 {
                let bit = self.left.trailing_zeros();
                self.left &= self.left - 1;
                let at = self.group as u64 * 8 + u64::from(bit);
                let stored = word(part, self.group) >> bit & 0b111 == 0;
                if stored || is_code(part, at) {
                    return Some(at);
                }
            }
            if self.next >= self.end.min(part.len()) {
                return None;
            }
            self.group = self.next;
            self.next += GROUP;
            let word = word(part, self.group);
            self.left = dynamic(word) | stored(word);
        }
    }
}

/// Returns the eight bytes at `at`. Bytes after the end are zero.
fn word(part: &[u8], at: usize) -> u64 {
    let rest = &part[at.min(part.len())..];
    match rest.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Returns true if the code for code lengths of a dynamic block at `bit` is complete.
fn is_code(part: &[u8], bit: u64) -> bool {
    let lengths = 4 + (word(part, (bit / 8) as usize) >> (bit % 8) >> 13 & 15);
    let at = bit + COUNTS;
    let lengths = word(part, (at / 8) as usize) >> (at % 8) & ((1 << (3 * lengths)) - 1);
    let shares: u16 = (0..5).map(|i| SHARES[(lengths >> (12 * i) & 0xfff) as usize]).sum();
    shares == 128
}

/// Returns the bits of a group at which a dynamic block may begin: a block that is not the last, has type 2, and has
/// valid numbers of codes.
fn dynamic(word: u64) -> u64 {
    let header = !word & !(word >> 1) & word >> 2;
    let litlens = word >> 4 & word >> 5 & word >> 6 & word >> 7;
    let distances = word >> 9 & word >> 10 & word >> 11 & word >> 12;
    header & !litlens & !distances & 0xffff_ffff
}

/// Returns the bits of a group at which three zero bits precede a length and its complement.
fn stored(word: u64) -> u64 {
    let mut bits = 0;
    for byte in 0..GROUP {
        let lengths = (word >> (8 * byte + 8)) as u32;
        let contradicts = (lengths ^ lengths >> 16) as u16 != 0xffff;
        let bit = 8 * byte + 5;
        if !contradicts && word >> bit & 0b111 == 0 {
            bits |= 1 << bit;
        }
    }
    bits
}

/// The share of the code space, in 128ths, that the four code lengths in 12 bits use.
const SHARES: [u16; 1 << 12] = shares();

const fn shares() -> [u16; 1 << 12] {
    let mut shares = [0; 1 << 12];
    let mut lengths = 0;
    while lengths < shares.len() {
        let mut at = 0;
        while at < 12 {
            let length = lengths >> at & 7;
            if length != 0 {
                shares[lengths] += 128 >> length;
            }
            at += 3;
        }
        lengths += 1;
    }
    shares
}
