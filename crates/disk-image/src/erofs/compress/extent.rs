//! What becomes of a segment of a file: extents, and the blocks that hold them.

use super::super::format::BLOCK;

/// A block, as lengths of slices are.
pub(super) const BLOCK_BYTES: usize = BLOCK as usize;

/// Bytes of a file that follow each other, and are decoded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of the file.
    pub(crate) length: u32,
    /// Blocks that hold them: fewer than the bytes would fill, or one block as it is.
    pub(crate) blocks: u32,
}

impl Extent {
    /// Whether the block holds the very bytes.
    pub(crate) fn is_plain(self) -> bool {
        u64::from(self.length) <= BLOCK
    }
}

/// The extents of a segment, and their blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extents {
    pub(crate) extents: Vec<Extent>,
    pub(crate) blocks: Vec<u8>,
}

/// A compression algorithm for extents of a segment.
pub(crate) trait Encoder {
    /// Makes ready for a segment of `length` bytes.
    fn begin(&mut self, length: usize);

    /// Encodes what follows `start`, or some of it, and appends that to `encoded`; gives how many bytes of the segment it
    /// was. If that is not worth it, the bytes are stored as they are.
    fn encode(&mut self, segment: &[u8], start: usize, encoded: &mut Vec<u8>) -> usize;
}

/// Compresses a segment. All but the last one of a file have a multiple of the block's length.
pub(crate) fn compress(encoder: &mut dyn Encoder, segment: &[u8], output: &mut Extents) {
    encoder.begin(segment.len());
    let mut encoded = Vec::new();
    let mut start = 0;
    while start < segment.len() {
        encoded.clear();
        // What is in one block anyway would only take longer to read.
        let is_last = segment.len() - start <= BLOCK_BYTES;
        let length = if is_last { segment.len() - start } else { encoder.encode(segment, start, &mut encoded) };
        let bytes = &segment[start..start + length];
        if !is_last && encoded.len().next_multiple_of(BLOCK_BYTES) < length {
            output.push_encoded(&encoded, length);
            start += length;
        } else {
            start += output.push_plain(bytes);
        }
    }
}

impl Extents {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.extents.clear();
        self.blocks.clear();
    }

    /// The code stands at the end of its blocks; readers skip zeros before it. So a reader can decode in place.
    fn push_encoded(&mut self, encoded: &[u8], length: usize) {
        let blocks = encoded.len().div_ceil(BLOCK_BYTES);
        self.extents.push(Extent { length: length as u32, blocks: blocks as u32 }); // a segment is small
        self.blocks.resize(self.blocks.len() + blocks * BLOCK_BYTES - encoded.len(), 0);
        self.blocks.extend_from_slice(encoded);
    }

    /// Stores the bytes but for the last block if that would not be full, for more may follow; gives how many that are.
    fn push_plain(&mut self, bytes: &[u8]) -> usize {
        let length = if bytes.len() <= BLOCK_BYTES { bytes.len() } else { bytes.len() - bytes.len() % BLOCK_BYTES };
        for block in bytes[..length].chunks(BLOCK_BYTES) {
            self.extents.push(Extent { length: block.len() as u32, blocks: 1 });
        }
        self.blocks.extend_from_slice(&bytes[..length]);
        self.blocks.resize(self.blocks.len().next_multiple_of(BLOCK_BYTES), 0);
        length
    }
}
