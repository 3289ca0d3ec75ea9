//! An LZ4 block encoder that encodes as many bytes of the source as fit into a fixed size.
//!
//! Libraries that do this well are written in C and clear 256 KiB for each block. With 4096 bytes of output, that would
//! take longer than some of the encoding. [`chain`] needs no clearing between the blocks of a segment.
//!
//! [`parse`] is a short form of the parse of other encoders' higher levels: it looks for a longer match at the end of a
//! match. An optimal parse takes ten times as long and saves 1 %, because the window is only what fits one block, about
//! 8 KiB.

mod chain;
mod parse;
mod sequence;

use super::extent::{BLOCK_BYTES, Encoder};
use chain::{Chain, Window};
use parse::Parse;
use sequence::Output;

/// Encodes consecutive blocks of a segment of a file. Each block is decoded independently: its matches do not reach
/// before it.
pub(crate) struct Lz4 {
    chain: Chain,
    attempts: u32,
}

impl Lz4 {
    /// Creates an encoder that compares `attempts` candidates for each match.
    pub(crate) fn new(attempts: u32) -> Self {
        Self { chain: Chain::new(), attempts }
    }

    /// Encodes bytes from `start` up to the segment's end as one block of at most `space` bytes, and appends it to
    /// `block`. Returns the number of bytes of the segment in the block. `space` must be at least 16.
    fn fill(&mut self, segment: &[u8], start: usize, space: usize, block: &mut Vec<u8>) -> usize {
        let output = Output::new(segment, start, block, space);
        Parse::new(&mut self.chain, Window { segment, start }, output, self.attempts).run() - start
    }
}

impl Encoder for Lz4 {
    fn begin(&mut self, length: usize) {
        self.chain.begin(length);
    }

    fn encode(&mut self, segment: &[u8], start: usize, encoded: &mut Vec<u8>) -> usize {
        self.fill(segment, start, BLOCK_BYTES, encoded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Encodes a segment in blocks of `space` bytes and decodes each.
    fn check(segment: &[u8], space: usize, attempts: u32) -> usize {
        let mut lz4 = Lz4::new(attempts);
        // The state left by other segments must not change the result.
        for other in [&segment[segment.len() / 2..], segment] {
            lz4.begin(other.len());
        }
        let (mut start, mut blocks) = (0, 0);
        while start < segment.len() {
            let mut block = Vec::new();
            let length = lz4.fill(segment, start, space, &mut block);
            assert!(block.len() <= space && length > 0, "{} bytes hold {length}", block.len());
            let decoded = lz4_flex::block::decompress(&block, length).unwrap();
            assert!(decoded == segment[start..start + length]);
            check_end(&block, length);
            start += length;
            blocks += 1;
        }
        blocks
    }

    /// Checks the format's rules for the end of a block, which the decoder of this test does not enforce.
    fn check_end(block: &[u8], length: usize) {
        let (mut at, mut done, mut last_match) = (0, 0, None);
        let number = |at: &mut usize, start: u8| {
            let mut number = usize::from(start);
            let mut more = start == 15;
            while more {
                number += usize::from(block[*at]);
                more = block[*at] == 255;
                *at += 1;
            }
            number
        };
        loop {
            let token = block[at];
            at += 1;
            let literals = number(&mut at, token >> 4);
            at += literals;
            done += literals;
            if at == block.len() {
                assert_eq!(done, length);
                assert!(last_match.is_none() || literals >= 5);
                assert!(last_match.is_none_or(|start| start + 12 <= length));
                return;
            }
            last_match = Some(done);
            at += 2;
            done += number(&mut at, token & 15) + 4;
        }
    }

    /// Random bytes, some of which repeat earlier ones.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let piece = (0..4_u8, 1..2000_usize, any::<u32>(), 1..40_usize);
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| {
            let mut text = Vec::new();
            for (kind, length, seed, period) in pieces {
                let mut state = seed;
                for at in 0..length {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    text.push(match kind {
                        0 => (state >> 24) as u8,
                        1 => (state >> 30) as u8,
                        2 => (at % period) as u8,
                        _ => *text.get(text.len().wrapping_sub(seed as usize % 70_000 + 1)).unwrap_or(&7),
                    });
                }
            }
            text
        })
    }

    proptest! {
        #[test]
        fn blocks_decode_to_what_they_hold(text in texts(), space in 16..5000_usize, attempts in 1..40_u32) {
            check(&text, space, attempts);
        }
    }

    #[test]
    fn zeros_and_short_segments() {
        assert_eq!(check(&vec![0; 1_040_000], 4096, 16), 1);
        assert_eq!(check(&vec![0; 4 << 20], 4096, 16), 5);
        for length in 1..300 {
            assert_eq!(check(&vec![7; length], 4096, 16), 1);
            check(&vec![7; length], 16, 16);
        }
    }

    #[test]
    fn matches_reach_back_up_to_the_largest_distance() {
        let mut state = 1_u32;
        let mut noise = std::iter::from_fn(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((state >> 24) as u8)
        });
        for gap in [65_535, 65_536] {
            let mut text: Vec<u8> = noise.by_ref().take(gap).collect();
            text.extend_from_within(..1000);
            let mut block = Vec::new();
            let mut lz4 = Lz4::new(16);
            lz4.begin(text.len());
            assert_eq!(lz4.fill(&text, 0, 1 << 20, &mut block), text.len());
            assert_eq!(block.len() < text.len() - 500, gap == 65_535);
            assert!(lz4_flex::block::decompress(&block, text.len()).unwrap() == text);
        }
    }
}
