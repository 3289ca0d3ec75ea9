//! Zstandard, for extents of many blocks.
//!
//! The library encodes a source to whatever length that takes. Extents have whole blocks, so a source is sought of which
//! the code just fills some: half a block would be lost with each extent otherwise.

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::extent::{BLOCK_BYTES, Encoder};

/// The most bytes of an extent of several blocks, as a power of two: more makes them little smaller, and whoever reads one
/// byte decodes all that are before it. It is also what a reader must have memory for.
pub(crate) const WINDOW_BITS: u32 = 17;
const SOURCE: usize = 1 << WINDOW_BITS;
/// A source is sought so many times.
const ATTEMPTS: usize = 3;
/// So many bytes at the end of the last block may stay empty.
const WASTE: usize = 128;

/// An encoder, and what it last made.
pub(crate) struct Zstd {
    compressor: Compressor<'static>,
    code: Vec<u8>,
    best: Vec<u8>,
}

impl Zstd {
    /// An encoder of a level that the library has.
    pub(crate) fn new(level: u8) -> Self {
        const VALID: &str = "a level and a window that the library has";
        let mut compressor = Compressor::new(level.into()).expect(VALID);
        compressor.set_parameter(CParameter::WindowLog(WINDOW_BITS)).expect(VALID);
        Self { compressor, code: vec![0; SOURCE], best: Vec::new() }
    }

    /// Encodes a source; gives the length of the code, unless it has no room.
    fn attempt(&mut self, source: &[u8]) -> Option<usize> {
        // Without room the library says no more than that. There is no other error for a whole source.
        self.compressor.compress_to_buffer(source, &mut self.code[..]).ok()
    }

    /// Looks for the longest start of `source` of which the code fits into `space` bytes, knowing that `known` bytes of
    /// code are all of it. The code is left in `best`; gives the bytes of the source.
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
            // As if every byte took the same.
            length = length * (space - WASTE / 2) / code;
        }
        fits
    }

    /// Encodes as much of `rest`, by doublings, as fits into one block, knowing that `known` bytes of code are the first
    /// source. So zeros hardly take any room.
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
        // Which of the two has more bytes a block?
        if length * (blocks + 1) > source.len() * blocks {
            encoded.extend_from_slice(&self.best);
            length
        } else {
            encoded.extend_from_slice(&all);
            source.len()
        }
    }
}
