//! Tests of the decoder against flate2, which uses zlib: the same streams are valid and decode to the same bytes.

use std::io::Read;

use flate2::{Compression, Decompress, FlushDecompress, Status};
use proptest::prelude::*;

use super::*;

/// A reader that returns at most `step` bytes at once.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = out.len().min(self.1);
        self.0.read(&mut out[..n])
    }
}

/// Decodes a stream in pieces. Returns the output, and the length of the stream or the error.
fn decode(stream: &[u8], step: usize, capacity: usize) -> (Vec<u8>, Result<u64>) {
    let mut input = Input::new(Dribble(stream, step));
    let mut inflate = Inflate::default();
    let mut chunk = Chunk::new(capacity);
    let mut out = Vec::new();
    inflate.begin(&mut chunk);
    loop {
        let pause = inflate.fill(&mut input, &mut chunk, u64::MAX);
        out.extend_from_slice(chunk.bytes());
        inflate.save_history(&mut chunk);
        chunk.clear();
        match pause {
            Ok(Pause::Full | Pause::Block) => {}
            Ok(Pause::Ended) => return (out, Ok(input.consumed())),
            Err(error) => return (out, Err(error)),
        }
    }
}

/// Decodes a stream with flate2. Returns the output and the length of the stream, `None` if it is invalid or truncated.
fn reference(stream: &[u8]) -> (Vec<u8>, Option<u64>) {
    let mut decompress = Decompress::new(false);
    let mut out = Vec::new();
    loop {
        out.reserve(64 << 10);
        let (consumed, produced) = (decompress.total_in(), decompress.total_out());
        let rest = &stream[consumed as usize..];
        match decompress.decompress_vec(rest, &mut out, FlushDecompress::None) {
            Ok(Status::StreamEnd) => return (out, Some(decompress.total_in())),
            Ok(_) if (consumed, produced) != (decompress.total_in(), decompress.total_out()) => {}
            _ => return (out, None),
        }
    }
}

/// Decodes in pieces of several sizes and compares with flate2.
#[track_caller]
fn assert_agree(stream: &[u8]) {
    let (expected, end) = reference(stream);
    for (step, capacity) in [(usize::MAX, 1 << 20), (1, 100), (13, 1), (1000, 40_000)] {
        let (out, ended) = decode(stream, step, capacity);
        assert_eq!(ended.as_ref().ok(), end.as_ref(), "{ended:?}, in pieces of {step} and {capacity}");
        // The output before an error depends on the lookahead of the decoder.
        let common = if end.is_some() { expected.len().max(out.len()) } else { expected.len().min(out.len()) };
        assert!(expected[..common] == out[..common], "in pieces of {step} and {capacity}");
    }
}

fn deflate(data: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() * 2 + 1000);
    let mut compress = flate2::Compress::new(Compression::new(level), false);
    let status = compress.compress_vec(data, &mut out, flate2::FlushCompress::Finish).unwrap();
    assert_eq!(status, Status::StreamEnd);
    out
}

/// Compresses with optimal parsing, whose blocks differ from zlib's: longer codewords, and lengths at odd positions.
fn deflate_optimal(data: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut out = vec![0; compressor.deflate_compress_bound(data.len())];
    let n = compressor.deflate_compress(data, &mut out).unwrap();
    out.truncate(n);
    out
}

/// Parts that compress in different ways: text, runs, repetitions at long distances, noise.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec("[a-e]{1,8} ", 1..200).prop_map(|words| words.concat().into_bytes()),
        (any::<u8>(), 1..2000usize).prop_map(|(byte, n)| vec![byte; n]),
        (proptest::collection::vec(any::<u8>(), 1..40), 1..200usize).prop_map(|(unit, n)| unit.repeat(n)),
        proptest::collection::vec(any::<u8>(), 1..5000),
    ];
    (proptest::collection::vec(piece, 0..12), any::<bool>()).prop_map(|(pieces, twice)| {
        let data = pieces.concat();
        if twice { data.repeat(2) } else { data }
    })
}

proptest! {
    #[test]
    fn round_trip(data in data(), level in 0..=9u32, step in 1..2000usize, capacity in 1..100_000usize) {
        for stream in [deflate(&data, level), deflate_optimal(&data)] {
            let (out, ended) = decode(&stream, step, capacity);
            prop_assert_eq!(ended.unwrap(), stream.len() as u64);
            prop_assert!(out == data);
        }
    }

    #[test]
    fn corrupt_streams_agree_with_zlib(
        data in data(),
        level in 0..=9u32,
        optimal in any::<bool>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8u32), 1..4),
        early in any::<bool>(),
    ) {
        let mut stream = if optimal { deflate_optimal(&data) } else { deflate(&data, level) };
        // Decoders differ most easily in the codes of the first block.
        let range = if early { stream.len().min(60) } else { stream.len() };
        for (at, bit) in flips {
            stream[at.index(range)] ^= 1 << bit;
        }
        assert_agree(&stream);
    }

    #[test]
    fn noise_agrees_with_zlib(mut stream in proptest::collection::vec(any::<u8>(), 0..300), dynamic in any::<bool>()) {
        if let (true, Some(first)) = (dynamic, stream.first_mut()) {
            *first = *first & !6 | 4;
        }
        assert_agree(&stream);
    }

    #[test]
    fn truncation_is_an_error(data in data(), level in 0..=9u32, at in any::<prop::sample::Index>()) {
        let stream = deflate(&data, level);
        let cut = &stream[..at.index(stream.len())];
        for (step, capacity) in [(usize::MAX, 1 << 20), (1, 1000)] {
            let (out, ended) = decode(cut, step, capacity);
            let whole = cut.len() as u64;
            let noticed = matches!(ended, Err(Error::Truncated { consumed, .. }) if consumed == whole);
            prop_assert!(noticed, "{:?}", ended);
            prop_assert!(data.starts_with(&out));
        }
    }
}

#[test]
fn programs_and_text() {
    let program = std::fs::read("/proc/self/exe").unwrap();
    let program = &program[..program.len().min(3_000_000)];
    for level in 0..=9 {
        let stream = deflate(program, level);
        let (out, ended) = decode(&stream, usize::MAX, 256 << 10);
        assert_eq!(ended.unwrap(), stream.len() as u64);
        assert!(out == program, "level {level}");
    }
}

/// A bit writer for streams.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    bits: usize,
}

impl Writer {
    /// Writes a number of `n` bits, the lowest first.
    fn number(&mut self, value: u32, n: u32) -> &mut Self {
        for i in 0..n {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> i & 1) as u8) << (self.bits % 8);
            self.bits += 1;
        }
        self
    }

    /// Writes a codeword of `n` bits, the highest first.
    fn codeword(&mut self, value: u32, n: u32) -> &mut Self {
        for i in (0..n).rev() {
            self.number(value >> i & 1, 1);
        }
        self
    }

    /// Writes the header of a last block with dynamic codes of these codeword lengths.
    ///
    /// The lengths are written in a code with four bits for each of 0 to 15, and without repetitions.
    fn dynamic(&mut self, litlen: &[u8], distance: &[u8]) -> &mut Self {
        self.number(1, 1).number(2, 2);
        self.number(litlen.len() as u32 - 257, 5).number(distance.len() as u32 - 1, 5).number(15, 4);
        // The lengths of 16, 17 and 18 come first.
        for length in [[0; 3].as_slice(), &[4; 16]].concat() {
            self.number(length, 3);
        }
        for length in litlen.iter().chain(distance) {
            self.codeword(u32::from(*length), 4);
        }
        self
    }

    #[track_caller]
    fn assert_valid(&mut self, data: &[u8]) {
        assert_agree(&self.bytes);
        let (out, ended) = decode(&self.bytes, usize::MAX, 1000);
        ended.unwrap();
        assert_eq!(out, data);
    }

    #[track_caller]
    fn assert_invalid(&mut self, fault: Fault) {
        // Zeros follow, so that the stream is not truncated.
        self.number(0, 24);
        assert_agree(&self.bytes);
        let (_, ended) = decode(&self.bytes, usize::MAX, 1000);
        assert!(matches!(ended, Err(Error::Corrupt { reason, .. }) if reason == fault.reason()), "{ended:?}");
        // The same with enough input for the fast loop.
        self.bytes.resize(self.bytes.len() + 100, 0);
        assert_agree(&self.bytes);
        let (_, ended) = decode(&self.bytes, usize::MAX, 1000);
        assert!(matches!(ended, Err(Error::Corrupt { reason, .. }) if reason == fault.reason()), "{ended:?}");
    }
}

fn writer() -> Writer {
    Writer::default()
}

/// Returns codeword lengths that are zero except for some symbols.
fn lengths(n: usize, set: &[(usize, u8)]) -> Vec<u8> {
    let mut lengths = vec![0; n];
    set.iter().for_each(|(symbol, length)| lengths[*symbol] = *length);
    lengths
}

#[test]
fn block_headers() {
    writer().number(1, 1).number(3, 2).assert_invalid(Fault::BlockType);
    writer().number(1, 8).number(0, 16).number(0xffff, 16).assert_valid(b"");
    writer().number(1, 8).number(1, 16).number(0xffff, 16).assert_invalid(Fault::StoredLength);
    writer().number(1, 1).number(1, 2).codeword(0, 7).assert_valid(b"");
}

#[test]
fn fixed_codes() {
    // 'a', and a match of length three if a distance follows.
    let a = || {
        let mut block = writer();
        block.number(1, 1).number(1, 2).codeword(0x30 + 97, 8);
        block
    };
    a().codeword(1, 7).codeword(0, 5).codeword(0, 7).assert_valid(b"aaaa");
    a().codeword(1, 7).codeword(1, 5).assert_invalid(Fault::TooFarBack);
    for distance in [30, 31] {
        a().codeword(1, 7).codeword(distance, 5).assert_invalid(Fault::Distance);
    }
    for symbol in [0b1100_0110, 0b1100_0111] {
        a().codeword(symbol, 8).assert_invalid(Fault::Symbol);
    }
    // The longest match, 285, back to the first byte.
    a().codeword(0b1100_0101, 8).codeword(0, 5).codeword(0, 7).assert_valid(&[b'a'; 259]);
}

#[test]
fn distance_codes() {
    let litlen = lengths(258, &[(97, 1), (256, 2), (257, 2)]);
    let (a, end, three) = ((0, 1), (2, 2), (3, 2));
    let block = |distance: &[u8], symbols: &[(u32, u32)]| {
        let mut block = writer();
        block.dynamic(&litlen, distance);
        for (codeword, n) in symbols {
            block.codeword(*codeword, *n);
        }
        block
    };
    block(&[0], &[a, a, end]).assert_valid(b"aa");
    block(&[0], &[a, three, (0, 1)]).assert_invalid(Fault::Distance);
    block(&[0], &[a, three, (1, 1)]).assert_invalid(Fault::Distance);
    block(&[1], &[a, three, (0, 1), end]).assert_valid(b"aaaa");
    block(&[1], &[a, three, (1, 1)]).assert_invalid(Fault::Distance);
    block(&[0, 1], &[a, a, three, (0, 1), end]).assert_valid(b"aaaaa");
    block(&[1, 1], &[a, three, (0, 1), a, three, (1, 1), end]).assert_valid(b"aaaaaaaa");
    for not_a_code in [&[2][..], &[2, 2], &[1, 2], &[1, 1, 1], &[1, 1, 15], &[15; 30]] {
        block(not_a_code, &[]).assert_invalid(Fault::Code);
    }
    // Codewords of fifteen bits need second tables.
    let long: Vec<u8> = (1..15).chain([15, 15]).collect();
    block(&long, &[a, three, (0, 1), end]).assert_valid(b"aaaa");
    block(&long, &[a, three, (0x7fff, 15), (0, 6)]).assert_invalid(Fault::TooFarBack);
}

#[test]
fn literal_and_length_codes() {
    writer().dynamic(&lengths(257, &[(256, 1)]), &[0]).codeword(0, 1).assert_valid(b"");
    writer().dynamic(&lengths(257, &[(256, 1)]), &[0]).codeword(1, 1).assert_invalid(Fault::Symbol);
    writer().dynamic(&lengths(257, &[(97, 1)]), &[0]).assert_invalid(Fault::NoEndOfBlock);
    writer().dynamic(&lengths(257, &[]), &[0]).assert_invalid(Fault::NoEndOfBlock);
    for not_a_code in [&[(256, 2)][..], &[(97, 1), (256, 2)], &[(97, 1), (98, 1), (256, 1)], &[(97, 15), (256, 15)]] {
        writer().dynamic(&lengths(257, not_a_code), &[0]).assert_invalid(Fault::Code);
    }
    // Codewords of fifteen bits need second tables. 'b' to 'o' have one to fourteen bits.
    let mut long: Vec<(usize, u8)> = (1..15).map(|n| (97 + usize::from(n), n)).collect();
    long.extend([(256, 15), (285, 15)]);
    let mut block = writer();
    block.dynamic(&lengths(286, &long), &[1]).codeword(0, 1).codeword(0x3ffe, 14);
    block.codeword(0x7fff, 15).codeword(0, 1).codeword(0x7ffe, 15);
    block.assert_valid(&[&b"b"[..], &[b'o'; 259]].concat());
}

#[test]
fn codes_for_codeword_lengths() {
    let header = |litlens: u32, distances: u32| {
        let mut block = writer();
        block.number(1, 1).number(2, 2).number(litlens - 257, 5).number(distances - 1, 5);
        block
    };
    for (litlens, distances) in [(287, 1), (288, 1), (257, 31), (257, 32)] {
        header(litlens, distances).number(0, 4).assert_invalid(Fault::TooManyCodes);
    }
    // The lengths of 16, 17, 18 and 0 come first.
    let code = |lengths: [u32; 4]| {
        let mut block = header(257, 1);
        block.number(0, 4);
        for length in lengths {
            block.number(length, 3);
        }
        block
    };
    for not_a_code in [[0, 0, 1, 0], [1, 1, 1, 0], [7, 7, 7, 7], [0, 2, 2, 0]] {
        code(not_a_code).assert_invalid(Fault::Code);
    }
    // The codeword of 0 is '0', that of 16 or 18 is '1'.
    code([1, 0, 0, 1]).number(1, 1).assert_invalid(Fault::RepeatOfNothing);
    code([0, 0, 1, 1]).number(1, 1).number(127, 7).number(1, 1).number(127, 7).assert_invalid(Fault::TooManyRepeats);
}

#[test]
fn matches_reach_32_kib_back_across_chunks() {
    let mut data: Vec<u8> = (0..HISTORY as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    data.extend_from_within(..);
    let stream = deflate_optimal(&data);
    assert!(stream.len() < data.len() * 3 / 4, "the second half is matches");
    for capacity in [1, 1000, HISTORY - 1, HISTORY, HISTORY + 1, 50_000] {
        let (out, ended) = decode(&stream, usize::MAX, capacity);
        ended.unwrap();
        assert!(out == data, "{capacity}");
    }
}
