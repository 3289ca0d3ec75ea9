//! Compressing streams again.

use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vmroot_compress::{Compression, Error, Limits, RecompressOptions, Recompressed, Target, recompress};
use vmroot_testkit::skip;

use crate::samples::{COMPRESSED, compress, decode_all, gzip, layer_like};

const GZIP: Target = Target::Gzip { level: None };
const ZSTD: Target = Target::Zstd { level: None };
const TARGETS: [Target; 3] = [Target::Plain, GZIP, ZSTD];

fn options(target: Target, threads: usize) -> RecompressOptions {
    RecompressOptions { threads: NonZero::new(threads), ..RecompressOptions::new(target) }
}

fn start<R: Read + Send + 'static>(reader: R, target: Target) -> Recompressed<R> {
    recompress(reader, &options(target, 2), |_| {}).unwrap()
}

/// Recompresses a stream with a number of threads. Checks what the tap was called with against `plain`.
fn recompressed(stream: &[u8], target: Target, threads: usize, plain: &[u8]) -> Vec<u8> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tap = Arc::clone(&seen);
    let on_plain = move |bytes: &[u8]| tap.lock().unwrap().extend_from_slice(bytes);
    let mut reader = recompress(Cursor::new(stream.to_vec()), &options(target, threads), on_plain).unwrap();
    let mut out = Vec::new();
    reader.read_to_end(&mut out).unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "further reads stay at the end");
    assert_eq!(reader.size(), out.len() as u64);
    let finished = reader.finish().unwrap();
    assert_eq!(finished.plain_size, plain.len() as u64);
    assert_eq!(finished.reader.position(), stream.len() as u64);
    assert!(*seen.lock().unwrap() == plain, "{target:?}: the tap saw other bytes");
    out
}

/// Runs a program that decodes its standard input.
fn decode_by(program: &str, arguments: &[&str], stream: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stream = stream.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&stream).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    output.stdout
}

#[test]
fn every_compression_becomes_every_other() {
    let data = layer_like(3_000_000);
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        let stream = compress(compression, &data);
        for target in TARGETS {
            let out = recompressed(&stream, target, 2, &data);
            assert_eq!(Compression::sniff(&out), target.compression(), "{compression} to {target:?}");
            assert!(decode_all(&out) == data, "{compression} to {target:?}");
        }
    }
}

#[test]
fn the_output_does_not_depend_on_the_threads() {
    let data = layer_like(20_000_000);
    let stream = gzip(&data, 1);
    for target in [GZIP, ZSTD, Target::Gzip { level: Some(1) }, Target::Zstd { level: Some(5) }] {
        let one = recompressed(&stream, target, 1, &data);
        for threads in [2, 3, 8] {
            assert!(one == recompressed(&stream, target, threads, &data), "{target:?} with {threads} threads");
        }
        assert!(one == recompressed(&data, target, 2, &data), "{target:?}: it depends on the input's compression");
    }
}

#[test]
fn sizes_around_the_parts_round_trip() {
    let data = layer_like(5 << 20);
    // The parts of gzip have 512 KiB, dictionaries 32 KiB, decoded chunks 1 MiB, the jobs of zstd 2 MiB.
    for boundary in [0, 32 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20] {
        for size in [boundary - 1, boundary, boundary + 1] {
            let Ok(size) = usize::try_from(size) else { continue };
            for target in [GZIP, ZSTD] {
                let out = recompressed(&data[..size], target, 2, &data[..size]);
                assert!(decode_all(&out) == data[..size], "{target:?}, {size} bytes");
            }
        }
    }
}

#[test]
fn random_sizes_round_trip() {
    let data = layer_like(6 << 20);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (0..data.len(), 0..data.len(), 1..=9_u32);
    for _ in 0..24 {
        let (a, b, level) = proptest::strategy::ValueTree::current(
            &proptest::strategy::Strategy::new_tree(&strategy, &mut runner).unwrap(),
        );
        let part = &data[a.min(b)..a.max(b)];
        for target in [Target::Gzip { level: Some(level) }, Target::Zstd { level: Some(level) }] {
            assert!(decode_all(&recompressed(part, target, 3, part)) == *part, "{target:?}, {a} to {b}");
        }
    }
}

#[test]
fn other_programs_decode_the_output() {
    let data = layer_like(9_000_000);
    for (program, target, arguments) in
        [("gzip", GZIP, ["-d", "-c"]), ("pigz", GZIP, ["-d", "-c"]), ("zstd", ZSTD, ["-d", "-c"])]
    {
        if skip::needs_program(program) {
            continue;
        }
        for data in [&data[..], &data[..600_000], b"short", b""] {
            let out = recompressed(data, target, 2, data);
            assert!(decode_by(program, &arguments, &out) == data, "{program}, {} bytes", data.len());
        }
    }
}

#[test]
fn parts_refer_to_the_bytes_before_them() {
    // 30 KiB of noise, repeated: without a dictionary, each part would store it again.
    let noise = crate::samples::noise(30 << 10, 1);
    let data = noise.repeat(100);
    let out = recompressed(&data, GZIP, 2, &data);
    assert!(out.len() < noise.len() * 3, "{} bytes", out.len());
}

#[test]
fn all_levels_work_and_others_are_errors() {
    let data = layer_like(1_500_000);
    for level in 1..=20 {
        for target in [Target::Gzip { level: Some(level) }, Target::Zstd { level: Some(level) }] {
            if target.check_level().is_ok() {
                assert!(decode_all(&recompressed(&data, target, 2, &data)) == data, "{target:?}");
            }
        }
    }
    for (target, level) in [
        (Target::Gzip { level: Some(0) }, 0),
        (Target::Gzip { level: Some(10) }, 10),
        (Target::Zstd { level: Some(0) }, 0),
        (Target::Zstd { level: Some(21) }, 21),
    ] {
        let error = recompress(io::empty(), &RecompressOptions::new(target), |_| {}).unwrap_err();
        assert!(matches!(error, Error::Level { level: l, .. } if l == level), "{error}");
    }
}

#[test]
fn a_truncated_stream_is_an_error() {
    let mut stream = gzip(&layer_like(5_000_000), 1);
    stream.truncate(stream.len() / 2);
    for target in TARGETS {
        let mut reader = start(Cursor::new(stream.clone()), target);
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(Error::from(error), Error::Truncated { .. }), "{target:?}");
        let again = reader.read(&mut [0]).unwrap_err();
        assert!(matches!(Error::from(again), Error::FailedBefore), "{target:?}");
        assert!(matches!(start(Cursor::new(stream.clone()), target).finish(), Err(Error::Truncated { .. })));
    }
}

#[test]
fn a_failing_reader_is_an_error() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::ConnectionReset.into())
        }
    }
    for target in TARGETS {
        let mut reader = start(Cursor::new(layer_like(3_000_000)).chain(Fails), target);
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{target:?}");
    }
}

#[test]
fn a_limit_of_the_input_is_an_error() {
    let stream = gzip(&layer_like(3_000_000), 1);
    for target in TARGETS {
        let limits = Limits { max_output: 1_000_000, ..Limits::default() };
        let options = RecompressOptions { limits, ..options(target, 2) };
        let mut reader = recompress(Cursor::new(stream.clone()), &options, |_| {}).unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(Error::from(error), Error::OutputLimit { limit: 1_000_000 }), "{target:?}");
    }
}

#[test]
fn a_panic_of_the_tap_is_an_error() {
    let on_plain = |_: &[u8]| std::panic::resume_unwind(Box::new("quietly"));
    for target in [GZIP, ZSTD] {
        let mut reader = recompress(Cursor::new(vec![1; 100]), &options(target, 2), on_plain).unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(Error::from(error), Error::Panicked), "{target:?}");
    }
}

#[test]
fn early_drop_stops_the_threads() {
    struct Watched(Cursor<Vec<u8>>, #[expect(dead_code, reason = "closes its channel")] Sender<()>);
    impl Read for Watched {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(out)
        }
    }
    let stream = gzip(&layer_like(40_000_000), 1);
    for target in TARGETS {
        for read_first in [0, 1, 3_000_000] {
            let (alive, watch) = channel();
            let (tap_alive, tap_watch) = channel::<()>();
            let on_plain = move |_: &[u8]| {
                let _ = &tap_alive;
            };
            let watched = Watched(Cursor::new(stream.clone()), alive);
            let mut reader = recompress(watched, &options(target, 2), on_plain).unwrap();
            io::copy(&mut reader.by_ref().take(read_first), &mut io::sink()).unwrap();
            drop(reader);
            // The channels are closed when the threads end. The timeout is much longer than that takes.
            for watch in [watch, tap_watch] {
                let ended = watch.recv_timeout(Duration::from_secs(60));
                assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "{target:?} after {read_first} bytes");
            }
        }
    }
}
