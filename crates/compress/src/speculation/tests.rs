//! Decoding ahead against decoding in order: the same bytes and the same errors.

use std::io::{self, BufRead, Cursor, ErrorKind, Read, Write};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;

use super::*;
use crate::budget::Budget;
use crate::pieces::InOrder;
use crate::pipeline::spread;
use crate::stream::Stream;
use crate::{Error, Limits};

const STEP: usize = 50_000;

/// So small that a short stream has many parts.
const SMALL: Sizes =
    Sizes { start: 100, unit: 1 << 10, units: 4, overlap: 16, piece: 150_000, step: 5_000, patient: true };

/// Parts that are shorter than a block.
const TINY: Sizes = Sizes { unit: 300, units: 1, overlap: 40, piece: 60_000, step: 700, ..SMALL };

/// Pieces that are often full.
const NARROW: Sizes = Sizes { unit: 2 << 10, units: 8, overlap: 8, piece: 20_000, step: 4_000, ..SMALL };

/// Parts that stored blocks fit into.
const WIDE: Sizes = Sizes { unit: 40 << 10, units: 1, overlap: 2, piece: 400_000, ..SMALL };

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

/// Program code, letters, noise, lines, runs, and short repeats of earlier bytes.
///
/// Most of it has few matches, so that blocks are short: an encoder ends them after so many symbols.
fn data(len: usize, seed: u64) -> Vec<u8> {
    let program = std::fs::read("/proc/self/exe").unwrap();
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

/// With empty stored blocks in between, as programs write that compress by many threads.
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

/// Decodes it all; returns the output, and how it ended.
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

/// A reader that gives little at once, so that reading ahead begins early.
struct Short(Cursor<Vec<u8>>);

impl Read for Short {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(1_000);
        self.0.read(&mut out[..n])
    }
}

/// Decodes in both ways and compares; returns how many pieces were taken.
#[track_caller]
fn agree(stream: &[u8], limits: &Limits) -> u64 {
    let (expected, expected_end) = in_order(stream, limits);
    [SMALL, TINY, NARROW, WIDE]
        .into_iter()
        .map(|sizes| {
            let (out, ended, taken) = ahead(stream, limits, sizes);
            assert!(out == expected, "{} and {} bytes, {sizes:?}", out.len(), expected.len());
            match (&ended, &expected_end) {
                // How far it had looked ahead depends on how it was read.
                (Err(Error::Corrupt { consumed, reason, .. }), Err(Error::Corrupt { consumed: c, reason: r, .. })) => {
                    assert_eq!(reason, r);
                    assert!(consumed.abs_diff(*c) <= 8, "{ended:?}, {expected_end:?}");
                }
                _ => assert_eq!(format!("{ended:?}"), format!("{expected_end:?}")),
            }
            taken
        })
        .sum()
}

#[track_caller]
fn decodes(stream: &[u8], data: &[u8]) -> u64 {
    let (out, ended) = in_order(stream, &Limits::default());
    assert!(ended.is_ok() && out == data);
    let mut reference = Vec::new();
    flate2::read::MultiGzDecoder::new(stream).read_to_end(&mut reference).unwrap();
    assert!(reference == data);
    agree(stream, &Limits::default())
}

#[test]
fn whatever_the_encoder() {
    let data = data(700_000, 1);
    for level in 0..=9 {
        let taken = decodes(&gzip(&data, level), &data);
        let least = match level {
            // Stored blocks are longer than the small parts and their overlap.
            0 => 1,
            // One block of fixed codes, in which nothing is found.
            1 => 0,
            _ => 3,
        };
        assert!(taken >= least, "level {level}: {taken}");
    }
    for level in [1, 6, 12] {
        assert!(decodes(&libdeflate(&data, level), &data) > 0, "libdeflate's level {level}");
    }
    for every in [500, 5_000, 128 << 10] {
        assert!(decodes(&gzip_flushed(&data, every), &data) > 3, "flushed after {every}");
    }
}

#[test]
fn members_one_after_another() {
    let data = data(500_000, 2);
    for size in [300, 3_000, 60_000] {
        let members: Vec<u8> = data.chunks(size).flat_map(|part| [gzip(part, 6), gzip(b"", 6)].concat()).collect();
        decodes(&members, &data);
        agree(&[&members[..], &[0; 5000]].concat(), &Limits::default());
    }
}

#[test]
fn fixed_codes_only() {
    let mut data = Vec::new();
    // Runs so short that their own code would cost more; each flush ends a block.
    for i in 0..20_000u32 {
        write!(data, "{i} ").unwrap();
    }
    decodes(&gzip_flushed(&data, 20), &data);
}

/// Bytes that look like blocks and are none: streams within stored blocks, and lengths with their complements.
#[test]
fn false_beginnings() {
    let inner = gzip(&data(300_000, 3), 6);
    for level in [0, 1, 6] {
        decodes(&gzip(&inner, level), &inner);
    }
    for pattern in [&[0, 0, 0, 0xff, 0xff][..], &[0, 5, 0, 0xfa, 0xff], &[4, 0, 0xff, 0xff], &[0], &[0b100, 0x92, 0x49]]
    {
        let data = pattern.repeat(200_000 / pattern.len());
        for level in [0, 6] {
            decodes(&gzip(&data, level), &data);
        }
    }
    let lengths =
        (0..60_000u16).flat_map(|n| [[0, 0], n.to_le_bytes(), (!n).to_le_bytes()].concat()).collect::<Vec<_>>();
    decodes(&gzip(&lengths, 0), &lengths);
}

#[test]
fn damage_is_found_at_the_same_place() {
    let mut random = Random(4);
    let data = data(200_000, 4);
    let streams = [
        gzip(&data, 6),
        gzip(&data, 0),
        libdeflate(&data, 12),
        gzip_flushed(&data, 3_000),
        data.chunks(20_000).flat_map(|part| gzip(part, 6)).collect(),
    ];
    for stream in &streams {
        for _ in 0..12 {
            let mut damaged = stream.clone();
            let at = random.below(stream.len());
            match random.below(5) {
                0 => damaged.truncate(at),
                1 => damaged[at] ^= 1 << random.below(8),
                2 => damaged[at..].iter_mut().take(200).for_each(|byte| *byte = random.next() as u8),
                3 => drop(damaged.drain(at..(at + 1 + random.below(5_000)).min(stream.len()))),
                _ => damaged.extend((0..=random.below(9)).map(|_| random.next() as u8)),
            }
            agree(&damaged, &Limits::default());
        }
        for last in 1..=8 {
            let mut damaged = stream.clone();
            let at = stream.len() - last;
            damaged[at] ^= 1;
            agree(&damaged, &Limits::default());
        }
    }
}

/// The beginning of the member is missing, so that matches reach before its first byte.
#[test]
fn matches_from_before_the_first_byte() {
    let data = data(300_000, 5);
    let stream = gzip_flushed(&data, 2_000);
    let flushes: Vec<usize> =
        stream.windows(4).enumerate().filter(|(_, w)| *w == [0, 0, 0xff, 0xff]).map(|w| w.0 + 4).collect();
    for flush in flushes.iter().step_by(flushes.len() / 6) {
        agree(&[&stream[..10], &stream[*flush..]].concat(), &Limits::default());
    }
}

#[test]
fn output_goes_to_the_limit_and_no_further() {
    let data = data(300_000, 6);
    let stream = gzip(&data, 6);
    for max_output in [0, 1, 49_999, 50_000, 123_456, 299_999, 300_000] {
        agree(&stream, &Limits { max_output, ..Limits::default() });
        agree(&stream, &Limits { max_data: max_output, ..Limits::default() });
    }
}

/// Blocks of zeros are not data, wherever in a chunk they are.
#[test]
fn blocks_are_those_of_the_stream() {
    let mut data = data(200_000, 9);
    for at in [4096 * 3, 4096 * 7 - 1, 50_000, 100_001] {
        data[at..at + 9_000].fill(0);
    }
    let blocks = data.chunks(4096).filter(|block| block.iter().any(|byte| *byte != 0));
    let counted = blocks.map(|block| block.len() as u64).sum();
    let stream = gzip(&data, 6);
    for (max_data, whole) in [(counted, true), (counted - 1, false)] {
        let limits = Limits { max_data, ..Limits::default() };
        let (out, ended) = in_order(&stream, &limits);
        assert_eq!((out.len() == data.len(), ended.is_ok()), (whole, whole), "{max_data}: {ended:?}");
        agree(&stream, &limits);
    }
}

/// A reader that ends in an error or a panic.
struct Breaks {
    stream: Cursor<Vec<u8>>,
    end: fn() -> io::Result<usize>,
}

impl Read for Breaks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(out)? {
            0 => (self.end)(),
            n => Ok(n),
        }
    }
}

#[test]
fn the_end_of_the_reader() {
    let data = data(400_000, 7);
    let stream = gzip(&data, 6);
    let whole = Cursor::new(stream.clone());
    let len = stream.len() as u64;
    assert_eq!(spread(whole, &Limits::default(), Budget::new(8), SMALL).finish().unwrap().position(), len);

    let read = |end| {
        let stream = Cursor::new(stream[..stream.len() / 2].to_vec());
        let mut reader = spread(Breaks { stream, end }, &Limits::default(), Budget::new(8), SMALL);
        let mut out = Vec::new();
        let error = reader.read_to_end(&mut out).unwrap_err();
        assert!(data.starts_with(&out));
        (out.len(), error)
    };
    let (len, error) = read(|| Err(ErrorKind::ConnectionReset.into()));
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(len > data.len() / 4, "{len}");
    let (_, panicked) = read(|| std::panic::resume_unwind(Box::new("quietly")));
    assert!(matches!(Error::from(panicked), Error::Panicked));
}

#[test]
fn dropping_it_early_ends_all_threads() {
    /// Tells of its end by hanging up.
    struct Watched(Cursor<Vec<u8>>, #[allow(dead_code)] std::sync::mpsc::Sender<()>);
    impl Read for Watched {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(out)
        }
    }
    let stream = gzip(&data(2_000_000, 8), 6);
    for taken in [0, 1, 700_000] {
        let budget = Budget::new(8);
        let (alive, watch) = channel();
        let mut reader =
            spread(Watched(Cursor::new(stream.clone()), alive), &Limits::default(), Arc::clone(&budget), SMALL);
        io::copy(&mut reader.by_ref().take(taken), &mut io::sink()).unwrap();
        assert!(reader.fill_buf().is_ok());
        drop(reader);
        let limit = Instant::now() + Duration::from_secs(60);
        assert!(watch.recv_timeout(Duration::from_secs(60)).is_err());
        // Each thread that decodes ahead holds the budget by the chunk that it decodes into.
        while Arc::strong_count(&budget) > 1 {
            assert!(Instant::now() < limit, "something still holds on to it");
            std::thread::yield_now();
        }
    }
}

#[test]
fn streams_share_the_machine() {
    let budget = Budget::new(8);
    let first = Arc::clone(&budget).share();
    assert_eq!(first.workers(), 6);
    let second = Arc::clone(&budget).share();
    let third = Arc::clone(&budget).share();
    assert_eq!(first.workers(), 3);
    drop((second, third));
    assert_eq!(first.workers(), 6);
    let permits: Vec<_> = std::iter::from_fn(|| first.permit()).collect();
    assert_eq!(permits.len(), 8);
    drop(permits);
    assert!(first.permit().is_some());
    assert_eq!(Budget::new(2).share().workers(), 0);
}
