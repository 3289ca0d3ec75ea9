//! Any bytes as a gzip or zlib stream: what flate2 decodes is decoded alike, and everything else is an error.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use vmroot_compress::{Decoder, Limits};

/// Bytes that a stream may decode to: enough for every code path, and little enough to be fast.
const MOST: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    // A whole header, so that the fuzzer has to find blocks only.
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let stream = [&header[..], data].concat();
    let mut expected = Vec::new();
    let judge = flate2::read::MultiGzDecoder::new(&stream[..]).take(MOST + 1).read_to_end(&mut expected);
    let limits = Limits { max_output: MOST, ..Limits::default() };
    let mut actual = Vec::new();
    let ours = Decoder::new(&stream[..], &limits).and_then(|mut decoder| Ok(decoder.read_to_end(&mut actual)?));
    if judge.is_ok() && expected.len() as u64 <= MOST && ours.is_ok() {
        assert_eq!(actual, expected);
    }
    // Both decode the same bytes before an error.
    let common = actual.len().min(expected.len());
    assert_eq!(actual[..common], expected[..common]);
});
