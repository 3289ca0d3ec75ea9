//! Where in the middle of a stream a block may begin.
//!
//! Nothing marks the beginning of a block, so it is guessed: by the header of a block with dynamic codes, whose code for
//! code lengths has to be complete, and by the length of a stored block, which is there twice. Such a place is a candidate.
//! Most wrong candidates fail when the rest of the header is read.

/// Bits of a header up to the lengths of the code for code lengths: type, and three counts.
const COUNTS: u64 = 17;

/// Finds candidates from the first bit of a part of a stream on.
pub(super) struct Finder {
    /// Where the next group is looked at.
    next: usize,
    /// Where the present group is.
    group: usize,
    /// Bits of the present group that are left to be tried.
    left: u64,
    end: usize,
}

/// Bytes that are looked at together.
const GROUP: usize = 4;

impl Finder {
    /// Finds those that begin in the first `end` bytes of a part.
    pub(super) fn new(end: usize) -> Self {
        Self { next: 0, group: 0, left: 0, end }
    }

    /// The next candidate in `part`: the bit that its header begins at.
    ///
    /// That of a stored block may begin up to seven bits earlier, because the bits that fill up its byte are zero too.
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

/// The eight bytes at `at`; zeros stand for those after the end.
fn word(part: &[u8], at: usize) -> u64 {
    let rest = &part[at.min(part.len())..];
    match rest.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Whether the code for code lengths of a dynamic block at `bit` is complete.
fn is_code(part: &[u8], bit: u64) -> bool {
    let lengths = 4 + (word(part, (bit / 8) as usize) >> (bit % 8) >> 13 & 15);
    let at = bit + COUNTS;
    let lengths = word(part, (at / 8) as usize) >> (at % 8) & ((1 << (3 * lengths)) - 1);
    let shares: u16 = (0..5).map(|i| SHARES[(lengths >> (12 * i) & 0xfff) as usize]).sum();
    shares == 128
}

/// The bits where 32 bits may be the first of a dynamic block: not the last one, of type 2, and neither count of codes too
/// high.
fn dynamic(word: u64) -> u64 {
    let header = !word & !(word >> 1) & word >> 2;
    let litlens = word >> 4 & word >> 5 & word >> 6 & word >> 7;
    let distances = word >> 9 & word >> 10 & word >> 11 & word >> 12;
    header & !litlens & !distances & 0xffff_ffff
}

/// The bits that are the last three before a length and its complement, and zero.
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

/// How much of the space of codewords the code lengths take that are in 12 bits, in 128ths.
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
