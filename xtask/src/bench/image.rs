//! The images for the measurements, which are built once and kept in the registry's storage.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};

use super::registry::Registry;
use crate::{process, walk};

/// Debian in three layers, with at least 600 MB and 16,000 paths.
pub const BENCH: &str = "bench";
/// An image that shares all layers except its small last one with [`BENCH`].
pub const SIBLING: &str = "sibling";
/// An image of one layer with one file of 2 GiB.
pub const LARGE: &str = "large";
/// The files of [`BENCH`] in one layer.
pub const ONE_LAYER: &str = "one-layer";
/// The files of a small Debian, distributed to [`LAYERS`] layers of about the same size.
pub const EQUAL_LAYERS: &str = "equal-layers";
/// [`BENCH`] with layers compressed with zstd.
pub const ZSTD: &str = "zstd";
/// One incompressible layer of 320 MiB, so that a pull measures the network.
pub const NOISE: &str = "noise";
/// The images that the recipe builds.
const NAMES: [&str; 6] = [BENCH, SIBLING, LARGE, ONE_LAYER, EQUAL_LAYERS, NOISE];

const RECIPE: &str = include_str!("../../bench/Containerfile");
const BASE_PACKAGES: &str = "ca-certificates,curl,perl,python3";
const MIRROR: &str = "http://deb.debian.org/debian";
const LARGE_FILE: u64 = 2 << 30;
const LAYERS: usize = 40;
const NOISE_FILE: u64 = 320 << 20;

/// Fills the registry, unless `directory` has a stamp of the same recipe. Returns whether it did.
pub fn make(directory: &Path, registry: &Registry) -> Result<bool> {
    let stamp = directory.join("images-made");
    let base = format!("base: {BASE_PACKAGES}\nlayers: {LAYERS}");
    let wanted = format!("{RECIPE}\n{base}\nlarge: {LARGE_FILE}\nnoise: {NOISE_FILE}\n");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(false);
    }
    let work = directory.join("images");
    fs::create_dir_all(&work)?;
    build(&work)?;
    for name in NAMES {
        push(&work, name, &[], &registry.reference(name))?;
    }
    push(&work, BENCH, &["--format", "oci", "--compression-format", "zstd"], &registry.reference(ZSTD))?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    fs::write(stamp, wanted)?;
    Ok(true)
}

fn build(work: &Path) -> Result<()> {
    process::run(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", &format!("--include={BASE_PACKAGES}"), "bookworm"])
            .arg(work.join("base.tar"))
            .arg(MIRROR),
    )?;
    write_large(&work.join("large"))?;
    deal_out(work)?;
    write_noise(&work.join("noise"))?;
    let recipe = work.join("Containerfile");
    fs::write(&recipe, format!("{RECIPE}\nFROM scratch AS {EQUAL_LAYERS}\n{}", copies()))?;
    for name in NAMES {
        process::run(
            buildah(work)
                .args(["build", "--isolation", "chroot", "--layers", "--target", name, "--tag", name, "--file"])
                .args([&recipe, work]),
        )?;
    }
    Ok(())
}

fn push(work: &Path, name: &str, options: &[&str], reference: &str) -> Result<()> {
    let destination = format!("docker://{reference}");
    process::run(buildah(work).args(["push", "--quiet", "--tls-verify=false"]).args(options).args([name, &destination]))
}

fn buildah(work: &Path) -> Command {
    let mut buildah = Command::new("buildah");
    buildah.arg("--root").arg(work.join("storage")).arg("--runroot").arg(work.join("run"));
    buildah.args(["--storage-driver", "overlay"]);
    buildah
}

/// Returns an instruction for each directory of [`deal_out`]. Each instruction makes one layer.
fn copies() -> String {
    (0..LAYERS).map(|number| format!("COPY equal/{number} /{number}\n")).collect()
}

/// Distributes the files of the base to directories: each next largest file goes to the smallest directory.
fn deal_out(work: &Path) -> Result<()> {
    let tree = work.join("base");
    fs::create_dir(&tree)?;
    process::run(Command::new("tar").arg("-xf").arg(work.join("base.tar")).arg("-C").arg(&tree))?;
    let mut files = Vec::new();
    walk::visit(&tree, &mut |path, metadata| {
        if metadata.is_file() {
            files.push((metadata.len(), path.to_owned()));
        }
        Ok(())
    })?;
    files.sort();
    let mut sizes = [0; LAYERS];
    for number in 0..LAYERS {
        fs::create_dir_all(work.join("equal").join(number.to_string()))?;
    }
    for (position, (size, path)) in files.iter().enumerate().rev() {
        let least = (0..LAYERS).min_by_key(|&number| sizes[number]).unwrap_or_default();
        sizes[least] += size;
        fs::hard_link(path, work.join(format!("equal/{least}/{position}")))?;
    }
    Ok(())
}

/// Writes text that compresses like ordinary text, without repeating exactly.
fn write_large(file: &Path) -> Result<()> {
    let mut text = BufWriter::with_capacity(1 << 20, File::create(file)?);
    let filler = "the same words on every line ".repeat(8);
    let mut written = 0;
    for number in 0_u64.. {
        if written >= LARGE_FILE {
            break;
        }
        let line = format!("{number:016x} {filler}\n");
        text.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    Ok(text.flush()?)
}

/// Writes pseudo-random bytes, which are the same on every machine.
fn write_noise(file: &Path) -> Result<()> {
    let mut noise = BufWriter::with_capacity(1 << 20, File::create(file)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..NOISE_FILE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.write_all(&state.to_le_bytes())?;
    }
    Ok(noise.flush()?)
}
