//! Measures one operation that is too short to measure from outside, for `cargo xtask bench`: `micro
//! open|merge|lookup|diff`.
//!
//! Ten layers of a generated distribution give a root of about 60,000 entries. `open`, `merge` and `diff` print seconds.
//! `lookup` prints nanoseconds for each path component. Each figure is the median of several rounds in one process.

use std::{
    env,
    error::Error,
    fs,
    io::{self, Cursor, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use vmroot_container_fs::{ContainerFs, DiffOptions};
use vmroot_layer_index::{BuildOptions, Index, InodeId, build, merge};
use vmroot_model::Digest;
use vmroot_testkit::layer::{Encoding, Entry, Layer};

const LAYERS: usize = 10;
const PACKAGES_PER_LAYER: usize = 40;
const FILES_PER_PACKAGE: usize = 148;
const ROUNDS: usize = 31;
/// The number of paths that differ in `diff`: two in each package.
const CHANGES: usize = 2 * LAYERS * PACKAGES_PER_LAYER;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let figure = env::args().nth(1).unwrap_or_default();
    let directory = tempfile::tempdir()?;
    let layers = layers(directory.path())?;
    let layers: Vec<&Index> = layers.iter().collect();
    let chain_id = Digest::of(b"micro");
    let merged = || -> Result<Vec<u8>> {
        let mut out = Cursor::new(Vec::new());
        merge(None, &layers, &chain_id, &mut out)?;
        Ok(out.into_inner())
    };
    let root = directory.path().join("root.idx");
    fs::write(&root, merged()?)?;
    let contents = |digest: &Digest| directory.path().join(format!("{}.contents", digest.hex()));
    let open = || ContainerFs::open_files(&root, &contents);
    let median = match figure.as_str() {
        "open" => median(|| Ok(seconds(open)?.0))?,
        "merge" => median(|| Ok(seconds(merged)?.0))?,
        "lookup" => {
            let container_fs = open()?;
            let paths = shuffled_paths(&container_fs);
            median(|| lookup_all(&container_fs, &paths))? * 1e9
        }
        "diff" => {
            let (old, new) = (open()?, with_changes(directory.path(), &layers)?);
            let all_changes = || Ok::<_, vmroot_container_fs::Error>(old.diff(&new, &DiffOptions::default()).count());
            median(|| {
                let (seconds, changes) = seconds(all_changes)?;
                if changes == CHANGES { Ok(seconds) } else { Err(format!("{changes} changes").into()) }
            })?
        }
        _ => return Err("usage: micro open|merge|lookup|diff".into()),
    };
    Ok(writeln!(io::stdout(), "{median}")?)
}

fn layers(directory: &Path) -> Result<Vec<Index>> {
    let index = |number: usize| {
        let tar = layer(number).to_tar(&Encoding::default());
        let path: PathBuf = build(&tar[..], directory, &BuildOptions::default())?.publish()?;
        Ok(Index::open(&path)?)
    };
    (0..LAYERS).map(index).collect()
}

/// Creates a layer with new packages, and with changes to the packages of the layer below.
fn layer(number: usize) -> Layer {
    let first = number * PACKAGES_PER_LAYER;
    let mut entries: Vec<_> = (first..first + PACKAGES_PER_LAYER).flat_map(package).collect();
    for package in first.saturating_sub(PACKAGES_PER_LAYER)..first {
        entries.push(Entry::file(file(package, 1), "upgraded"));
        entries.push(Entry::whiteout(file(package, 2)));
    }
    Layer::new(entries)
}

/// Opens the root of the layers and of one more, which changes and removes a file of each package.
fn with_changes(directory: &Path, layers: &[&Index]) -> Result<ContainerFs> {
    let packages = 0..LAYERS * PACKAGES_PER_LAYER;
    let changes =
        packages.flat_map(|package| [Entry::file(file(package, 3), "changed"), Entry::whiteout(file(package, 4))]);
    let tar = Layer::new(changes).to_tar(&Encoding::default());
    let upper = Index::open(&build(&tar[..], directory, &BuildOptions::default())?.publish()?)?;
    let layers: Vec<&Index> = layers.iter().copied().chain([&upper]).collect();
    let root = directory.join("changed.idx");
    merge(None, &layers, &Digest::of(b"changed"), fs::File::create(&root)?)?;
    Ok(ContainerFs::open_files(&root, &|digest| directory.join(format!("{}.contents", digest.hex())))?)
}

fn package(number: usize) -> Vec<Entry> {
    let directory = format!("usr/share/package-{number}");
    let mut entries = vec![Entry::directory(&directory), Entry::directory(format!("{directory}/parts"))];
    entries.extend((0..FILES_PER_PACKAGE).map(|at| match at % 16 {
        0 => Entry::symlink(file(number, at), "elsewhere"),
        7 => Entry::hard_link(file(number, at), file(number, at - 1)),
        _ => Entry::file(file(number, at), "contents"),
    }));
    entries
}

fn file(package: usize, number: usize) -> String {
    format!("usr/share/package-{package}/parts/some-module-{number:03}.py")
}

/// Returns all paths in an order that does not depend on their place in the index. The order is the same in every run.
fn shuffled_paths(container_fs: &ContainerFs) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = container_fs.walk().map(|entry| entry.path).filter(|path| !path.is_empty()).collect();
    paths.sort_by_key(|path| Digest::of(path).as_bytes().to_vec());
    paths
}

/// Looks up all paths, and returns the average time for one component in seconds.
fn lookup_all(container_fs: &ContainerFs, paths: &[Vec<u8>]) -> Result<f64> {
    let (seconds, components) = seconds(|| {
        let mut components = 0_u32;
        for path in paths {
            let mut ino = InodeId::ROOT;
            for name in path.split(|byte| *byte == b'/') {
                ino = container_fs.lookup(ino, name)?;
                components += 1;
            }
        }
        Ok::<_, vmroot_container_fs::Error>(components)
    })?;
    Ok(seconds / f64::from(components))
}

fn seconds<T, E>(work: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<(f64, T), E> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed().as_secs_f64(), result))
}

fn median(mut round: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut figures = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
    figures.sort_by(f64::total_cmp);
    Ok(figures[ROUNDS / 2])
}
