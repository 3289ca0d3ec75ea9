//! Decoding ahead produces the same bytes and errors as decoding in order.

mod cores;
mod random;
mod streams;
mod threads;

use std::io::{self, Cursor, Read, Write};

use flate2::write::GzEncoder;

use super::*;
use crate::budget::Budget;
use crate::pieces::InOrder;
use crate::stream::Stream;
use crate::{Error, Limits};

const STEP: usize = 50_000;

/// So small that a short stream has many parts.
const SMALL: Sizes =
    Sizes { start: 100, unit: 1 << 10, units: 4, overlap: 16, piece: 150_000, step: 5_000, wait: true };

/// Parts that are shorter than a block.
const TINY: Sizes = Sizes { unit: 300, units: 1, overlap: 40, piece: 60_000, step: 700, ..SMALL };

/// Pieces that are often full.
const NARROW: Sizes = Sizes { unit: 2 << 10, units: 8, overlap: 8, piece: 20_000, step: 4_000, ..SMALL };

/// Parts in which stored blocks fit.
const WIDE: Sizes = Sizes { unit: 40 << 10, units: 1, overlap: 2, piece: 400_000, ..SMALL };

/// Parts that are not waited for, as in production.
const NO_WAIT: Sizes = Sizes { wait: false, ..SMALL };

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Returns a mix of program code, letters, noise, lines, runs, and short repetitions.
///
/// Most of it has few matches. This makes blocks short, because an encoder ends them after a number of symbols.
fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut program = std::fs::read("/proc/self/exe").unwrap();
    // Blocks of zeros do not count for a limit on data, and each build has others.
    program.iter_mut().for_each(|byte| *byte = (*byte).max(1));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut data = Vec::new();
    while data.len() < len {
        let n = 1 + random.below(20_000);
        match random.below(7) {
            0 => data.extend_from_slice(&program[random.below(program.len() / 2)..][..n]),
            1 | 2 => data.extend((0..n).map(|_| b'a' + random.below(20) as u8)),
            3 => data.extend((0..n / 4).map(|_| random.next() as u8)),
            4 => data.resize(data.len() + n / 8, random.next() as u8),
            5 => (0..n / 20).for_each(|_| writeln!(data, "usr/share/doc/{}/copyright", random.below(500)).unwrap()),
            _ => {
                for _ in 0..n / 30 {
                    let from = data.len() - random.below(data.len().min(32 << 10) + 1);
                    data.extend_from_within(from..data.len().min(from + 3 + random.below(30)));
                    data.extend((0..20).map(|_| random.next() as u8 & 31));
                }
            }
        }
    }
    data.truncate(len);
    data
}

fn gzip(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Compresses with empty stored blocks in between, like programs that compress with several threads.
fn gzip_flushed(data: &[u8], every: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    for piece in data.chunks(every) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn libdeflate(data: &[u8], level: i32) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(level).unwrap());
    let mut out = vec![0; compressor.gzip_compress_bound(data.len())];
    let n = compressor.gzip_compress(data, &mut out).unwrap();
    out.truncate(n);
    out
}

/// Decodes everything. Returns the output, and the length of the stream or the error.
fn run<R: Read>(mut stream: Stream<R>, pieces: &mut impl Pieces<R>) -> (Vec<u8>, std::result::Result<u64, Error>) {
    let mut out = Vec::new();
    let mut chunk = Chunk::new(STEP);
    loop {
        match stream.fill(&mut chunk, pieces) {
            Ok(()) if chunk.is_empty() => return (out, Ok(stream.consumed())),
            Ok(()) => out.extend_from_slice(chunk.bytes()),
            Err(error) => return (out, Err(error)),
        }
    }
}

fn in_order(stream: &[u8], limits: &Limits) -> (Vec<u8>, std::result::Result<u64, Error>) {
    match Stream::open(stream, limits, STEP) {
        Ok(stream) => run(stream, &mut InOrder),
        Err(error) => (Vec::new(), Err(error)),
    }
}

fn ahead(stream: &[u8], limits: &Limits, sizes: Sizes) -> (Vec<u8>, std::result::Result<u64, Error>, u64) {
    let mut pieces = Speculation::new(Budget::new(8).share(), sizes);
    match Stream::open(ReadAhead::new(Short(Cursor::new(stream.to_vec())), sizes.unit), limits, STEP) {
        Ok(stream) => {
            let (out, ended) = run(stream, &mut pieces);
            (out, ended, pieces.taken)
        }
        Err(error) => (Vec::new(), Err(error), 0),
    }
}

/// A reader that returns few bytes at once, so that reading ahead begins early.
struct Short(Cursor<Vec<u8>>);

impl Read for Short {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(1_000);
        self.0.read(&mut out[..n])
    }
}

/// Compares decoding in order with decoding in parts of several sizes. Returns the number of pieces taken.
#[track_caller]
fn assert_agree(stream: &[u8], limits: &Limits) -> u64 {
    [SMALL, TINY, NARROW, WIDE, NO_WAIT].map(|sizes| assert_agree_with(stream, limits, sizes)).iter().sum()
}

/// Compares decoding in order with decoding in parts. Returns the number of pieces taken.
#[track_caller]
fn assert_agree_with(stream: &[u8], limits: &Limits, sizes: Sizes) -> u64 {
    let (expected, expected_end) = in_order(stream, limits);
    let (out, ended, taken) = ahead(stream, limits, sizes);
    assert!(out == expected, "{} and {} bytes, {sizes:?}", out.len(), expected.len());
    assert_eq!(format!("{ended:?}"), format!("{expected_end:?}"), "{sizes:?}");
    taken
}

#[track_caller]
fn assert_decodes(stream: &[u8], data: &[u8]) -> u64 {
    let (out, ended) = in_order(stream, &Limits::default());
    assert!(ended.is_ok() && out == data);
    let mut reference = Vec::new();
    flate2::read::MultiGzDecoder::new(stream).read_to_end(&mut reference).unwrap();
    assert!(reference == data);
    assert_agree(stream, &Limits::default())
}
