//! Large streams with the production sizes, as on machines with many cores.

use std::io::BufRead;

use super::*;
use crate::pipelined_on;

/// Returns the length and checksum of the output, and the result.
fn outcome(stream: &[u8], limits: &Limits, cores: usize) -> (u64, u32, String) {
    let mut reader = pipelined_on(Cursor::new(stream.to_vec()), limits, cores);
    let (mut length, mut sum) = (0, crc32fast::Hasher::new());
    loop {
        match reader.fill_buf() {
            Ok([]) => return (length, sum.finalize(), "whole".to_owned()),
            Ok(bytes) => {
                sum.update(bytes);
                length += bytes.len() as u64;
                let n = bytes.len();
                reader.consume(n);
            }
            Err(error) => return (length, sum.finalize(), format!("{:?}", Error::from(error))),
        }
    }
}

/// Compares the outcome on several cores with that on one. Returns the result.
#[track_caller]
fn assert_same_on_all_cores(stream: &[u8], limits: &Limits) -> String {
    let expected = outcome(stream, limits, 1);
    for cores in [4, 8] {
        assert_eq!(outcome(stream, limits, cores), expected, "{cores} cores");
    }
    expected.2
}

#[test]
fn large_stream_with_damage_and_limits() {
    let stream = gzip(&data(24_000_000, 21), 6);
    assert!(stream.len() > 8 << 20, "{}", stream.len());
    assert_eq!(assert_same_on_all_cores(&stream, &Limits::default()), "whole");
    for max in [1, 12_345_678, 23_999_999] {
        let ended = assert_same_on_all_cores(&stream, &Limits { max_output: max, ..Limits::default() });
        assert!(ended.starts_with("OutputLimit"), "{ended}");
        let ended = assert_same_on_all_cores(&stream, &Limits { max_data: max, ..Limits::default() });
        assert!(ended.starts_with("DataLimit"), "{ended}");
    }
    for at in [stream.len() / 3, stream.len() / 2, stream.len() - 5] {
        assert!(assert_same_on_all_cores(&stream[..at], &Limits::default()).starts_with("Truncated"));
        let mut damaged = stream.clone();
        damaged[at] ^= 1;
        assert!(assert_same_on_all_cores(&damaged, &Limits::default()).starts_with("Corrupt"));
        damaged.splice(at..at, [0; 3]);
        assert!(assert_same_on_all_cores(&damaged, &Limits::default()).starts_with("Corrupt"));
    }
}

/// The ratio is exceeded directly after [`Limits::RATIO_FREE_OUTPUT`], and much later.
#[test]
fn large_stream_exceeds_the_ratio() {
    let some = gzip(&data(3_000_000, 22), 6);
    let few_matches = some.repeat(100);
    let mut lines = Vec::new();
    let mut random = Random(23);
    while lines.len() < 12_000_000 {
        writeln!(lines, "usr/share/doc/{}/copyright", random.below(5000)).unwrap();
    }
    let many_matches = [&some.repeat(70)[..], &gzip(&lines, 6).repeat(30)].concat();
    for (stream, max_ratio) in [(few_matches, 1), (many_matches, 3)] {
        let ended = assert_same_on_all_cores(&stream, &Limits { max_ratio, ..Limits::default() });
        assert!(ended.starts_with("RatioLimit"), "{ended}");
    }
}
