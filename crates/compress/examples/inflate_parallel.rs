//! Measures the time to decode one layer on several cores: `inflate_parallel FILE.gz...`.
//!
//! Prints the wall-clock and processor time in milliseconds, the best of several rounds, for several numbers of cores,
//! which may be simulated. `cargo test --release -p vmroot-compress costs -- --ignored --nocapture` measures the
//! stages.
#![allow(clippy::print_stdout)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};

use vmroot_compress::{Limits, pipelined_on};

const ROUNDS: usize = 5;

fn main() -> io::Result<()> {
    for path in std::env::args().skip(1) {
        println!("{path}: {} bytes", fs::metadata(&path)?.len());
        for cores in [1, 4, 5, 8] {
            let mut best = (Duration::MAX, 0);
            let mut sum = 0;
            for _ in 0..ROUNDS {
                let (start, busy) = (Instant::now(), processor_time()?);
                sum = decode(&path, cores)?;
                best = best.min((start.elapsed(), processor_time()? - busy));
            }
            println!(
                "  as if on {cores} cores: {:5} ms, {:5} ms busy, CRC-32 {sum:08x}",
                best.0.as_millis(),
                best.1 * 10
            );
        }
    }
    Ok(())
}

fn decode(path: &str, cores: usize) -> io::Result<u32> {
    let mut reader = pipelined_on(File::open(path)?, &Limits::default(), cores);
    let mut sum = crc32fast::Hasher::new();
    loop {
        let bytes = black_box(reader.fill_buf()?);
        let n = bytes.len();
        if n == 0 {
            return Ok(sum.finalize());
        }
        sum.update(bytes);
        reader.consume(n);
    }
}

/// Returns the processor time of this process in kernel ticks, of which there are 100 per second.
fn processor_time() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
}
