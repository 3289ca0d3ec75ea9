//! gzip by several threads.
//!
//! The plain bytes are divided into parts. Each part is compressed with the 32 KiB before it as dictionary, so its
//! matches may refer to them. It ends at a byte boundary, with an empty stored block. The parts form one DEFLATE stream.

use std::io::Read;

use crc32fast::Hasher;
use flate2::{Compress, FlushCompress, Status};

use super::workers::Workers;
use super::{Annotations, Plain, Result, Stop, send};
use crate::chunk::HISTORY;
use crate::producer::Outlet;
use crate::{Compression, Error};

/// The largest level.
pub(super) const MAX_LEVEL: u32 = 9;

/// The size of a part in bytes. Each part costs a few bytes and new Huffman codes.
const PART: usize = 512 << 10;

/// The header of a member (RFC 1952 section 2.3) without a name and a time, from an unknown system. Go writes the same.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

struct Part {
    /// The dictionary, and the bytes to compress.
    bytes: Vec<u8>,
    dictionary: usize,
    is_last: bool,
    /// The memory for the compressed bytes.
    compressed: Vec<u8>,
}

struct Compressed {
    bytes: Vec<u8>,
    crc: Hasher,
    size: u64,
}

/// Compresses all plain bytes to one member.
pub(super) fn compress<R: Read>(
    plain: &mut Plain<R>,
    outlet: &Outlet<Vec<u8>>,
    level: Option<u32>,
    threads: usize,
) -> Result<Annotations, Stop> {
    let level = level.unwrap_or(6);
    let mut output = Output { outlet, crc: Hasher::new(), size: 0 };
    send(outlet, HEADER.to_vec())?;
    let mut workers = Workers::new(threads, move || Box::new(move |part| compress_part(part, level)));
    let mut part = Part { bytes: Vec::with_capacity(PART), dictionary: 0, is_last: false, compressed: Vec::new() };
    loop {
        let bytes = plain.fill()?;
        if bytes.is_empty() {
            break;
        }
        let room = part.dictionary + PART - part.bytes.len();
        let n = room.min(bytes.len());
        // A full part is passed on only if more bytes follow, because the last part is another.
        if n == 0 {
            let next = part.next(outlet.spent().unwrap_or_default());
            let full = std::mem::replace(&mut part, next);
            output.write(workers.add(full)?)?;
            continue;
        }
        part.bytes.extend_from_slice(&bytes[..n]);
        plain.consume(n);
    }
    part.is_last = true;
    output.write(workers.add(part)?)?;
    while let Some(compressed) = workers.next()? {
        output.write(Some(compressed))?;
    }
    output.end()?;
    Ok(Annotations::new())
}

impl Part {
    /// Returns the empty part after this one. It reuses the memory of bytes that were read.
    fn next(&self, mut compressed: Vec<u8>) -> Self {
        let dictionary = &self.bytes[self.bytes.len().saturating_sub(HISTORY)..];
        let mut bytes = Vec::with_capacity(dictionary.len() + PART);
        bytes.extend_from_slice(dictionary);
        compressed.clear();
        Self { dictionary: bytes.len(), bytes, is_last: false, compressed }
    }
}

fn compress_part(mut part: Part, level: u32) -> Result<Compressed> {
    let failure = |_| Error::Encoder { compression: Compression::Gzip, reason: "invalid state" };
    let (dictionary, bytes) = part.bytes.split_at(part.dictionary);
    // A new encoder for each part, because one that was reset still uses some of its earlier input.
    let mut deflate = Compress::new(flate2::Compression::new(level), false);
    if !dictionary.is_empty() {
        deflate.set_dictionary(dictionary).map_err(failure)?;
    }
    let flush = if part.is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    let compressed = &mut part.compressed;
    compressed.reserve(bytes.len() / 2 + 64);
    loop {
        let done = deflate.total_in() as usize; // at most the size of a part
        let status = deflate.compress_vec(&bytes[done..], compressed, flush).map_err(failure)?;
        // A flush is complete once space is left.
        let is_flushed = !part.is_last && compressed.len() < compressed.capacity();
        if status == Status::StreamEnd || is_flushed {
            break;
        }
        compressed.reserve(bytes.len() / 4 + 64);
    }
    let mut crc = Hasher::new();
    crc.update(bytes);
    let size = bytes.len() as u64;
    Ok(Compressed { bytes: part.compressed, crc, size })
}

struct Output<'a> {
    outlet: &'a Outlet<Vec<u8>>,
    crc: Hasher,
    size: u64,
}

impl Output<'_> {
    fn write(&mut self, compressed: Option<Result<Compressed>>) -> Result<(), Stop> {
        let Some(compressed) = compressed.transpose()? else { return Ok(()) };
        // The threads make new buffers. Spent ones would wait in the queue until the end of the stream.
        while self.outlet.spent().is_some() {}
        self.crc.combine(&compressed.crc);
        self.size += compressed.size;
        send(self.outlet, compressed.bytes)
    }

    /// Writes the trailer.
    fn end(self) -> Result<(), Stop> {
        let size = self.size as u32; // modulo 2^32 (RFC 1952 section 2.3.1)
        send(self.outlet, [self.crc.finalize().to_le_bytes(), size.to_le_bytes()].concat())
    }
}
