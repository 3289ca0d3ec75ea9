//! Measures building, opening and merging of indexes: `index_speed [TAR]`.
//!
//! Opens and merges a generated stack of 10 layers, whose root has 60,000 inodes. With a tar, also builds its index
//! several times. The tar should be in the page cache.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Cursor, Write, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vmroot_layer_index::{BuildOptions, Index, build, merge};
use vmroot_model::Digest;

const LAYERS: u32 = 10;
const FILES: u32 = 60_000;
/// The number of runs of each measurement.
const RUNS: usize = 21;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    if let Some(tar) = env::args_os().nth(1) {
        measure_build(Path::new(&tar))?;
    }
    let directory = tempfile::tempdir()?;
    let layers = (0..LAYERS).map(|number| layer(number, &directory)).collect::<Result<Vec<_>>>()?;
    let layers: Vec<&Index> = layers.iter().collect();
    let chain_id = Digest::of(b"index_speed");

    let root = directory.path().join("root.idx");
    let mut bytes = Cursor::new(Vec::new());
    merge(None, &layers, &chain_id, &mut bytes)?;
    std::fs::write(&root, bytes.get_ref())?;
    report("merge of 10 layers", || {
        let mut bytes = Cursor::new(Vec::new());
        merge(None, &layers, &chain_id, &mut bytes)?;
        Ok(bytes.get_ref().len() as u64)
    })?;
    let base = Index::open(&root)?;
    report("merge of one layer onto a root", || {
        let mut bytes = Cursor::new(Vec::new());
        merge(Some(&base), &layers[..1], &chain_id, &mut bytes)?;
        Ok(bytes.get_ref().len() as u64)
    })?;
    let what = format!("open and check of {} inodes", base.inode_count());
    report(&what, || Ok(Index::open(&root)?.byte_length()))
}

fn measure_build(tar: &Path) -> Result<()> {
    let directory = tempfile::tempdir_in(tar.parent().unwrap_or(Path::new(".")))?;
    report("build", || {
        let reader = BufReader::with_capacity(1 << 20, File::open(tar)?);
        Ok(build(reader, directory.path(), &BuildOptions::default())?.tar_length)
    })
}

/// Runs `run` several times, and prints the times and the rate. `run` returns the number of bytes processed.
fn report(what: &str, mut run: impl FnMut() -> Result<u64>) -> Result<()> {
    let mut times: Vec<Duration> = Vec::new();
    let mut bytes = 0;
    for _ in 0..RUNS {
        let start = Instant::now();
        bytes = run()?;
        times.push(start.elapsed());
    }
    times.sort();
    let (median, best) = (times[RUNS / 2].as_secs_f64(), times[0].as_secs_f64());
    let rate = bytes as f64 / median / 1e6;
    writeln!(
        stdout(),
        "{what}: median {:.2} ms, best {:.2} ms, {bytes} bytes, {rate:.0} MB/s",
        median * 1e3,
        best * 1e3
    )?;
    Ok(())
}

/// Builds a layer like those of distributions: small directories, with files that upper layers replace or delete.
fn layer(number: u32, directory: &TempDir) -> Result<Index> {
    let mut tar = Vec::new();
    let each = FILES / LAYERS;
    for file in number * each..(number + 1) * each {
        append(&mut tar, &path(file), u64::from(file % 7 > 0))?;
    }
    for shared in 0..each / 10 {
        append(&mut tar, &path(shared), 1)?;
        if let Some(last) = (number * each).checked_sub(1) {
            append(&mut tar, &path(last - shared).replace("file-", ".wh.file-"), 0)?;
            append(&mut tar, &path(last - shared), 1)?;
        }
    }
    let built = build(tar.as_slice(), directory.path(), &BuildOptions::default())?;
    Ok(Index::open(&built.publish()?)?)
}

fn path(file: u32) -> String {
    format!("usr/share/package-{:04}/directory/file-{file:06}.name", file / 12)
}

fn append(tar: &mut Vec<u8>, path: &str, size: u64) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.resize(tar.len() + 512 * size as usize, 0);
    Ok(())
}
