//! The work that no indexer of layers can avoid: `rival-floor OUT LAYER…`.
//!
//! Handles one layer after another on one core: decompression with the fastest available decoders (libdeflate or
//! libzstd, whole buffers, memory touched beforehand), SHA-256 of the compressed and of the uncompressed bytes, and
//! writing the regular files' bytes to one file. Prints the seconds of each step and their sum as lines of the form
//! `name seconds`.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    time::{Duration, Instant},
};

use libdeflater::Decompressor;
use sha2::{Digest, Sha256};

const BLOCK: u64 = 4096;
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

#[derive(Default)]
struct Times {
    inflate: Duration,
    sha_compressed: Duration,
    sha_uncompressed: Duration,
    write: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let out = arguments.next().ok_or("usage: rival-floor OUT LAYER…")?;
    let mut out = File::create(out)?;
    let mut times = Times::default();
    let mut buffer = Vec::new();
    for path in arguments {
        layer(&fs::read(path)?, &mut buffer, &mut out, &mut times)?;
    }
    let sum = times.inflate + times.sha_compressed + times.sha_uncompressed + times.write;
    for (name, time) in [
        ("inflate", times.inflate),
        ("sha256-compressed", times.sha_compressed),
        ("sha256-uncompressed", times.sha_uncompressed),
        ("write", times.write),
        ("sum", sum),
    ] {
        println!("{name} {:.3}", time.as_secs_f64());
    }
    Ok(())
}

fn layer(compressed: &[u8], buffer: &mut Vec<u8>, out: &mut File, times: &mut Times) -> Result<(), Box<dyn Error>> {
    grow_to_fit(compressed, buffer)?;
    let length = timed(&mut times.inflate, || inflate(compressed, buffer))?;
    timed(&mut times.sha_compressed, || Sha256::digest(compressed));
    timed(&mut times.sha_uncompressed, || Sha256::digest(&buffer[..length]));
    timed(&mut times.write, || write_contents(&buffer[..length], out))?;
    Ok(())
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}

/// Makes `buffer` large enough for the layer, outside the measurement. Filling it touches the pages.
fn grow_to_fit(compressed: &[u8], buffer: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
    let length = if compressed.starts_with(&ZSTD_MAGIC) {
        io::copy(&mut zstd::stream::read::Decoder::new(compressed)?, &mut io::sink())? as usize
    } else {
        // The last four bytes are the length (RFC 1952, ISIZE). Layers of the bench have less than 4 GiB.
        u32::from_le_bytes(*compressed.last_chunk().ok_or("an empty layer")?) as usize
    };
    if buffer.len() < length {
        buffer.resize(length, 1);
    }
    Ok(())
}

fn inflate(compressed: &[u8], buffer: &mut [u8]) -> Result<usize, Box<dyn Error>> {
    if !compressed.starts_with(&ZSTD_MAGIC) {
        return Ok(Decompressor::new().gzip_decompress(compressed, buffer)?);
    }
    Ok(zstd::bulk::decompress_to_buffer(compressed, buffer)?)
}

/// Writes the bytes of the regular files, each from a block boundary on.
fn write_contents(tar: &[u8], out: &mut File) -> io::Result<()> {
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            let start = entry.raw_file_position() as usize;
            out.write_all(&tar[start..start + entry.size() as usize])?;
            let end = out.stream_position()?;
            out.seek(SeekFrom::Start(end.next_multiple_of(BLOCK)))?;
        }
    }
    Ok(())
}
