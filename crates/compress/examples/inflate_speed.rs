//! Compares the speed of decoders on files: `inflate_speed FILE.gz|FILE.zst...`.
//!
//! Prints megabytes (10^6 bytes) of output per second, the best of several rounds. libdeflate has the whole file in
//! memory and a buffer for the whole output. The others stream.
#![allow(clippy::print_stdout)]

use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use vmroot_compress::{Compression, Decoder, Limits, pipelined};

/// The number of rounds. Decoders alternate within a round, so that other load does not affect only one of them.
const ROUNDS: usize = 9;

/// The buffer size for decoders that implement only `Read`.
const BUFFER: usize = 256 << 10;

type Run<'a> = Box<dyn FnMut() -> io::Result<u64> + 'a>;

fn main() -> io::Result<()> {
    let limits = Limits::default();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let size = count(Decoder::new(&bytes[..], &limits)?)?;
        println!("{path}: {} bytes, decoded {size}", bytes.len());
        // Allocated once, because the page faults of a new buffer take a third of the time.
        let mut out = vec![0; size as usize];
        let mut runs: Vec<(&str, Run<'_>)> = vec![
            ("Decoder", Box::new(|| count(Decoder::new(&bytes[..], &limits)?))),
            ("pipelined, from the file", Box::new(|| count(pipelined(File::open(&path)?, &limits)))),
        ];
        match Compression::sniff(&bytes) {
            Compression::Gzip => {
                runs.push(("libdeflate", Box::new(|| libdeflate(&bytes, &mut out))));
                runs.push((
                    "zlib-rs",
                    Box::new(|| count(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(&bytes[..])))),
                ));
                compare(runs, size)?;
            }
            Compression::Zstd => {
                let zstd = || count(BufReader::with_capacity(BUFFER, zstd::Decoder::with_buffer(&bytes[..])?));
                runs.push(("zstd", Box::new(zstd)));
                compare(runs, size)?;
            }
            _ => compare(runs, size)?,
        }
    }
    Ok(())
}

fn compare(mut runs: Vec<(&str, Run<'_>)>, size: u64) -> io::Result<()> {
    let mut best = vec![Duration::MAX; runs.len()];
    for _ in 0..ROUNDS {
        for ((_, run), best) in runs.iter_mut().zip(&mut best) {
            let start = Instant::now();
            let decoded = run()?;
            *best = start.elapsed().min(*best);
            assert_eq!(decoded, size);
        }
    }
    for ((name, _), best) in runs.iter().zip(best) {
        println!("  {name:26} {:7.0} MB/s", size as f64 / best.as_secs_f64() / 1e6);
    }
    Ok(())
}

/// Decodes the first member. Fails if there are more.
fn libdeflate(bytes: &[u8], out: &mut [u8]) -> io::Result<u64> {
    let n = libdeflater::Decompressor::new().gzip_decompress(bytes, out).map_err(io::Error::other)?;
    Ok(black_box(&out[..n]).len() as u64)
}

/// Reads to the end without a copy.
fn count(mut reader: impl BufRead) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let n = black_box(reader.fill_buf()?).len();
        if n == 0 {
            return Ok(total);
        }
        total += n as u64;
        reader.consume(n);
    }
}
