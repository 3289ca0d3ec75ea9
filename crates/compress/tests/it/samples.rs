//! Sample data, and helpers to compress and to read it.

use std::io::{self, Read, Write};

use vmroot_compress::{Compression, Decoder, Limits};

/// All compressions except none.
pub(crate) const COMPRESSED: [Compression; 4] =
    [Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Xz];

/// Returns data like that of layers: program code, text, zeros, noise.
pub(crate) fn layer_like(len: usize) -> Vec<u8> {
    let program = std::fs::read("/proc/self/exe").unwrap();
    let text: Vec<u8> =
        (0..20_000u32).flat_map(|i| format!("usr/share/doc/package-{}/copyright\n", i * 7919).into_bytes()).collect();
    let mut data = Vec::new();
    let mut seed = 1;
    while data.len() < len {
        let at = data.len() % (program.len() / 2);
        data.extend_from_slice(&program[at..at + (program.len() - at).min(150_000)]);
        data.extend_from_slice(&text[..text.len().min(100_000)]);
        data.resize(data.len() + 40_000, 0);
        data.extend(noise(30_000, seed));
        seed += 1;
    }
    data.truncate(len);
    data
}

/// Returns bytes that do not compress.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Compresses `data` to a single stream.
pub(crate) fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => data.to_vec(),
        Compression::Gzip => gzip(data, 6),
        Compression::Zstd => zstd::encode_all(data, 3).unwrap(),
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
    }
}

pub(crate) fn gzip(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Decodes everything. Returns the output and the result.
pub(crate) fn decode(reader: impl Read, limits: &Limits) -> (Vec<u8>, io::Result<()>) {
    let mut out = Vec::new();
    let ended =
        Decoder::new(reader, limits).map_err(io::Error::from).and_then(|mut decoder| decoder.read_to_end(&mut out));
    (out, ended.map(drop))
}

pub(crate) fn decode_all(bytes: &[u8]) -> Vec<u8> {
    let (out, ended) = decode(bytes, &Limits::default());
    ended.unwrap();
    out
}

/// A reader that returns at most `step` bytes at once.
pub(crate) struct Dribble<R> {
    pub(crate) inner: R,
    pub(crate) step: usize,
}

impl<R: Read> Read for Dribble<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(self.step);
        self.inner.read(&mut out[..n])
    }
}
