//! Measures the stages of decoding ahead for `docs/benchmarks.md`. Not a test.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::io::BufRead;
use std::time::{Duration, Instant};

use super::*;
use crate::chunk::HISTORY;
use crate::inflate::Symbols;
use crate::{Decoder, Limits};

/// `VMROOT_COSTS` has the paths of the files, separated by blanks.
#[test]
#[ignore = "measures, and needs files"]
fn costs() {
    for path in std::env::var("VMROOT_COSTS").unwrap().split_whitespace() {
        let stream = std::fs::read(path).unwrap();
        let (in_order, decoded) = best(3, || decode_in_order(&stream));
        println!("{path}: {} bytes, decoded {decoded}", stream.len());
        let mut costs = Costs::default();
        for _ in 0..2 {
            let again = measure(&stream);
            if costs.decode == Duration::ZERO || again.decode < costs.decode {
                costs = again;
            }
        }
        let per_mb = |time: Duration, bytes: u64| time.as_secs_f64() * 1e3 / (bytes.max(1) as f64 / 1e6);
        println!("  in order: {:.3} ms/MB of output", per_mb(in_order, decoded));
        println!(
            "  {} pieces of {} parts, {:.1} % of the output",
            costs.pieces,
            costs.parts,
            costs.bytes as f64 * 100.0 / decoded as f64
        );
        println!(
            "  ahead: {:.3} ms/MB, {:.1} % of it as marks and bytes",
            per_mb(costs.decode, costs.bytes),
            costs.unknown as f64 * 100.0 / costs.bytes as f64
        );
        println!("  search: {:.3} ms/MB", per_mb(costs.search, costs.bytes));
        println!("  resolve: {:.3} ms/MB", per_mb(costs.resolve, costs.bytes));
        println!("  CRC-32: {:.3} ms/MB", per_mb(costs.crc, costs.bytes));
    }
}

#[derive(Default)]
struct Costs {
    parts: u64,
    pieces: u64,
    bytes: u64,
    unknown: u64,
    decode: Duration,
    search: Duration,
    resolve: Duration,
    crc: Duration,
}

fn measure(stream: &[u8]) -> Costs {
    let sizes = Sizes::NORMAL;
    let mut costs = Costs::default();
    let mut guesser = Guesser::new((sizes.units + sizes.overlap) * sizes.unit, sizes.step);
    let mut room = Some((Chunk::new(sizes.piece), Symbols::new(sizes.piece)));
    let mut units = sizes.units;
    let mut at = 0;
    let history = [7; HISTORY];
    while at < stream.len() {
        let part = &stream[at..stream.len().min(at + (units + sizes.overlap) * sizes.unit)];
        let start = Instant::now();
        let decoded = guesser.decode(at as u64, [part], units * sizes.unit, room.take().unwrap());
        let decode = start.elapsed();
        costs.parts += 1;
        at += units * sizes.unit;
        let mut piece = match decoded {
            Ok(piece) => piece,
            Err(unused) => {
                room = Some(unused);
                continue;
            }
        };
        costs.decode += decode;
        units = sizes.units_of_part((piece.end - piece.start) / 8, piece.len() as u64);
        costs.pieces += 1;
        costs.bytes += piece.len() as u64;
        costs.unknown += piece.symbols.len() as u64;
        let start = Instant::now();
        black_box(guesser.search(piece.start));
        costs.search += start.elapsed();
        let start = Instant::now();
        piece.resolve(&history);
        costs.resolve += start.elapsed();
        let start = Instant::now();
        black_box(crc32fast::hash(piece.chunk.bytes()));
        costs.crc += start.elapsed();
        room = Some((piece.chunk, piece.symbols));
    }
    costs
}

fn decode_in_order(stream: &[u8]) -> u64 {
    let mut decoder = Decoder::new(stream, &Limits { max_ratio: u64::MAX, ..Limits::default() }).unwrap();
    let mut total = 0;
    loop {
        let n = black_box(decoder.fill_buf().unwrap()).len();
        if n == 0 {
            return total;
        }
        total += n as u64;
        decoder.consume(n);
    }
}

fn best<T>(rounds: usize, mut run: impl FnMut() -> T) -> (Duration, T) {
    let mut times = (0..rounds).map(|_| {
        let start = Instant::now();
        let result = run();
        (start.elapsed(), result)
    });
    let first = times.next().unwrap();
    times.fold(first, |best, next| if next.0 < best.0 { next } else { best })
}
