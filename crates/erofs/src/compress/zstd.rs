//! Zstandard, for extents of several blocks.
//!
//! The library encodes a source to a code of any length, while extents have whole blocks. Half a block would be wasted
//! with each extent on average. So the encoder searches for a source whose code just fills a number of blocks.

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::extent::{BLOCK_BYTES, Encoder};

/// The most bytes of an extent of several blocks, as a power of two. A larger window saves little space, and a reader
/// of one byte decodes all bytes of the extent before it. It is also the memory that a reader needs.
pub(crate) const WINDOW_BITS: u32 = 17;
const SOURCE: usize = 1 << WINDOW_BITS;
/// The number of attempts to find a source that fits.
const ATTEMPTS: usize = 3;
/// Bytes at the end of the last block that may stay unused.
const WASTE: usize = 128;

/// An encoder and its last code.
pub(crate) struct Zstd {
    compressor: Compressor<'static>,
    code: Vec<u8>,
    best: Vec<u8>,
}

impl Zstd {
    /// Creates an encoder.
    ///
    /// # Panics
    /// If the library does not have the level.
    pub(crate) fn new(level: u8) -> Self {
        const VALID: &str = "a level and a window that the library has";
        let mut compressor = Compressor::new(level.into()).expect(VALID);
        compressor.set_parameter(CParameter::WindowLog(WINDOW_BITS)).expect(VALID);
        Self { compressor, code: vec![0; SOURCE], best: Vec::new() }
    }

    /// Encodes a source. Returns the length of the code; `None` if it exceeds the buffer.
    fn attempt(&mut self, source: &[u8]) -> Option<usize> {
        // The only possible error for a whole source is that the buffer is too small.
        self.compressor.compress_to_buffer(source, &mut self.code[..]).ok()
    }

    /// Searches for the longest prefix of `source` whose code fits into `space` bytes. `known` is the length of the
    /// code of the whole source. Leaves the code in `best` and returns the length of the prefix.
    fn fill(&mut self, source: &[u8], known: usize, space: usize) -> usize {
        self.best.clear();
        let (mut fits, mut too_long) = (0, source.len());
        let mut length = source.len() * (space - WASTE / 2) / known;
        for _ in 0..ATTEMPTS {
            if length <= fits || length >= too_long {
                break;
            }
            let Some(code) = self.attempt(&source[..length]) else { break };
            if code <= space {
                fits = length;
                self.best.clear();
                self.best.extend_from_slice(&self.code[..code]);
                if space - code <= WASTE {
                    break;
                }
            } else {
                too_long = length;
            }
            // Assumes that every byte needs the same space.
            length = length * (space - WASTE / 2) / code;
        }
        fits
    }

    /// Encodes as much of `rest` as fits into one block, doubling the source each time. `known` is the length of the
    /// code of the first source. This makes zeros take almost no space.
    fn encode_into_one(&mut self, rest: &[u8], known: usize, encoded: &mut Vec<u8>) -> usize {
        encoded.extend_from_slice(&self.code[..known]);
        let mut fits = rest.len().min(SOURCE);
        while fits < rest.len() {
            let length = rest.len().min(2 * fits);
            let Some(code) = self.attempt(&rest[..length]).filter(|code| *code <= BLOCK_BYTES) else { break };
            encoded.clear();
            encoded.extend_from_slice(&self.code[..code]);
            fits = length;
        }
        fits
    }
}

impl Encoder for Zstd {
    fn begin(&mut self, _length: usize) {}

    fn encode(&mut self, segment: &[u8], start: usize, encoded: &mut Vec<u8>) -> usize {
        let rest = &segment[start..];
        let source = &rest[..rest.len().min(SOURCE)];
        let Some(known) = self.attempt(source) else { return source.len() };
        let (blocks, used) = (known / BLOCK_BYTES, known % BLOCK_BYTES);
        if blocks == 0 {
            return self.encode_into_one(rest, known, encoded);
        }
        if source.len() == rest.len() || used == 0 || BLOCK_BYTES - used <= WASTE {
            encoded.extend_from_slice(&self.code[..known]);
            return source.len();
        }
        let all = self.code[..known].to_vec();
        let length = self.fill(source, known, blocks * BLOCK_BYTES);
        // Keep the one with more bytes for each block.
        if length * (blocks + 1) > source.len() * blocks {
            encoded.extend_from_slice(&self.best);
            length
        } else {
            encoded.extend_from_slice(&all);
            source.len()
        }
    }
}
