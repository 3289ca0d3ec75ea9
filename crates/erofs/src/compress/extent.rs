//! Extents of a segment of a file, and the blocks that hold them.

use crate::format::BLOCK;

/// Bytes of a block, as a `usize`.
pub(super) const BLOCK_BYTES: usize = BLOCK as usize;

/// Consecutive bytes of a file that are decoded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Number of bytes of the file.
    pub(crate) length: u32,
    /// Number of blocks. An encoded extent has fewer than its bytes would fill; a plain extent has as many as they
    /// fill.
    pub(crate) blocks: u32,
}

impl Extent {
    /// Returns whether the blocks hold the bytes as they are.
    pub(crate) fn is_plain(self) -> bool {
        u64::from(self.length) <= u64::from(self.blocks) * BLOCK
    }

    /// Appends the next extent if both are plain and this one ends at a block boundary. Returns `next` otherwise.
    pub(crate) fn extend(&mut self, next: Self) -> Option<Self> {
        let length = self.length.checked_add(next.length);
        match length {
            Some(length) if self.is_plain() && next.is_plain() && u64::from(self.length) % BLOCK == 0 => {
                *self = Self { length, blocks: self.blocks + next.blocks };
                None
            }
            _ => Some(next),
        }
    }
}

/// The extents of a segment and their blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extents {
    pub(crate) extents: Vec<Extent>,
    pub(crate) blocks: Vec<u8>,
}

/// A compression algorithm for the extents of a segment.
pub(crate) trait Encoder {
    /// Prepares for a segment of `length` bytes.
    fn begin(&mut self, length: usize);

    /// Encodes bytes from `start` on and appends the code to `encoded`. Returns the number of bytes of the segment that
    /// it covers. The caller stores these bytes as they are if the code is not smaller.
    fn encode(&mut self, segment: &[u8], start: usize, encoded: &mut Vec<u8>) -> usize;
}

/// Compresses a segment. Each segment of a file but the last has a multiple of the block size.
pub(crate) fn compress(encoder: &mut dyn Encoder, segment: &[u8], output: &mut Extents) {
    encoder.begin(segment.len());
    let mut encoded = Vec::new();
    let mut start = 0;
    while start < segment.len() {
        encoded.clear();
        let rest = segment.len() - start;
        // Compressing bytes that fill at most one block would only make them slower to read.
        let length = if rest <= BLOCK_BYTES { rest } else { encoder.encode(segment, start, &mut encoded) };
        start += if !encoded.is_empty() && encoded.len().next_multiple_of(BLOCK_BYTES) < length {
            output.push_encoded(&encoded, length)
        } else {
            // An extent of less than a block is only valid at the end: otherwise two extents would begin in one index
            // entry.
            output.push_plain(&segment[start..start + length.max(BLOCK_BYTES).min(rest)])
        };
    }
}

impl Extents {
    /// Stores a segment as it is. Replaces the bytes of the extents.
    pub(crate) fn store(&mut self, segment: &[u8]) {
        self.extents.clear();
        self.blocks.clear();
        let stored = self.push_plain(segment);
        self.push_plain(&segment[stored..]);
    }

    /// Appends an encoded extent. The code lies at the end of its blocks, after zeros that readers skip, so that they
    /// can decode in place.
    fn push_encoded(&mut self, encoded: &[u8], length: usize) -> usize {
        let blocks = encoded.len().div_ceil(BLOCK_BYTES);
        self.extents.push(Extent { length: length as u32, blocks: blocks as u32 }); // segments are short
        self.blocks.resize(self.blocks.len() + blocks * BLOCK_BYTES - encoded.len(), 0);
        self.blocks.extend_from_slice(encoded);
        length
    }

    /// Stores whole blocks of the bytes, or all of them if they fill at most one block. Returns the number of bytes
    /// stored.
    fn push_plain(&mut self, bytes: &[u8]) -> usize {
        let length = if bytes.len() <= BLOCK_BYTES { bytes.len() } else { bytes.len() - bytes.len() % BLOCK_BYTES };
        if length > 0 {
            self.extents.push(Extent { length: length as u32, blocks: length.div_ceil(BLOCK_BYTES) as u32 });
        }
        self.blocks.extend_from_slice(&bytes[..length]);
        self.blocks.resize(self.blocks.len().next_multiple_of(BLOCK_BYTES), 0);
        length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compress::ErofsCompression;

    /// Random mixtures of text, noise and zeros.
    fn segments() -> impl Strategy<Value = Vec<u8>> {
        let piece = (0..4_u8, 1..60_000_usize, any::<u32>());
        proptest::collection::vec(piece, 1..12).prop_map(|pieces| {
            let mut segment = Vec::new();
            for (kind, length, mut state) in pieces {
                for _ in 0..length {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    segment.push(match kind {
                        0 => (state >> 24) as u8,
                        1 => (state >> 29) as u8,
                        2 => *segment.get(segment.len().wrapping_sub(state as usize >> 20)).unwrap_or(&9),
                        _ => 0,
                    });
                }
            }
            segment
        })
    }

    fn decode(compression: ErofsCompression, code: &[u8], length: usize) -> Vec<u8> {
        match compression {
            ErofsCompression::Lz4 { .. } => lz4_flex::block::decompress(code, length).unwrap(),
            ErofsCompression::Zstd { .. } => ::zstd::bulk::decompress(code, length).unwrap(),
        }
    }

    fn check(compression: ErofsCompression, segment: &[u8]) -> Extents {
        let mut extents = Extents::default();
        compress(&mut *compression.encoder(), segment, &mut extents);
        let (mut start, mut blocks) = (0, &extents.blocks[..]);
        for extent in &extents.extents {
            let length = extent.length as usize;
            let (own, behind) = blocks.split_at(extent.blocks as usize * BLOCK_BYTES);
            let bytes = &segment[start..start + length];
            if extent.is_plain() {
                assert_eq!(extent.blocks as usize, length.div_ceil(BLOCK_BYTES));
                assert!(&own[..length] == bytes && own[length..].iter().all(|byte| *byte == 0));
            } else {
                assert!(length > own.len());
                let padding = own.iter().take_while(|byte| **byte == 0).count();
                assert!(padding < BLOCK_BYTES);
                assert!(decode(compression, &own[padding..], length) == bytes);
            }
            start += length;
            assert!(length >= BLOCK_BYTES || start == segment.len(), "an extent of {length} bytes");
            blocks = behind;
        }
        assert!(start == segment.len() && blocks.is_empty());
        extents
    }

    const BOTH: [ErofsCompression; 2] = [ErofsCompression::LZ4, ErofsCompression::ZSTD];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn extents_hold_the_segment(segment in segments()) {
            for compression in BOTH {
                check(compression, &segment);
            }
        }
    }

    #[test]
    fn short_and_uniform_segments() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::from_fn(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((state >> 24) as u8)
        })
        .take(300_000)
        .collect();
        for compression in BOTH {
            for length in [1, 2, 4095, 4096, 4097, 8191, 8192, 8193, 131_072, 131_073, 300_000] {
                check(compression, &vec![0; length]);
                let extents = check(compression, &noise[..length]);
                assert!(extents.extents.iter().all(|extent| extent.is_plain()));
                let mut stored = extents.clone();
                stored.store(&noise[..length]);
                assert_eq!(stored.blocks, extents.blocks);
            }
            let extents = check(compression, &vec![0; 2 << 20]);
            assert!(extents.extents.len() <= 16);
        }
    }
}
