//! Recompresses files, one after the other or all at once: `recompress_speed FORM[:LEVEL] THREADS once|each FILE...`.
//!
//! FORM is `plain`, `gzip`, `zstd` or `chunked`. Prints the sizes, the time, and the largest resident set.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::thread;
use std::time::Instant;

use vmroot_compress::{RecompressOptions, Target, recompress};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [form, threads, order, files @ ..] = &arguments[..] else {
        return Err("usage: recompress_speed FORM[:LEVEL] THREADS once|each FILE...".into());
    };
    let options =
        RecompressOptions { threads: NonZero::new(threads.parse()?), ..RecompressOptions::new(target(form)?) };
    let start = Instant::now();
    let total = match &**order {
        "once" => thread::scope(|scope| {
            let threads: Vec<_> = files.iter().map(|file| scope.spawn(|| run(file, &options))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum::<io::Result<u64>>()
        })?,
        _ => files.iter().map(|file| run(file, &options)).sum::<io::Result<u64>>()?,
    };
    println!("{total} bytes in {:.2} s; {}", start.elapsed().as_secs_f64(), peak()?);
    Ok(())
}

fn target(form: &str) -> Result<Target, Box<dyn Error>> {
    let (form, level) = form.split_once(':').map_or((form, None), |(form, level)| (form, Some(level)));
    let level = level.map(str::parse).transpose()?;
    Ok(match form {
        "plain" => Target::Plain,
        "gzip" => Target::Gzip { level },
        "zstd" => Target::Zstd { level },
        "chunked" => Target::ZstdChunked { level },
        _ => return Err("unknown form".into()),
    })
}

fn run(file: &str, options: &RecompressOptions) -> io::Result<u64> {
    io::copy(&mut recompress(File::open(file)?, options, |_| {})?, &mut io::sink())
}

/// Returns the lines about memory of the process's status.
fn peak() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().filter(|line| line.starts_with("VmHWM")).collect())
}
