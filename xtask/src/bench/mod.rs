//! `cargo xtask bench`: measures whole processes with a real image from a real registry. The contestants take turns,
//! and medians are printed.

mod archives;
mod boot;
mod copy;
mod counting_proxy;
mod export;
mod forms;
mod image;
mod lab;
mod micro;
mod mount;
mod mounted;
mod pull;
mod race;
mod registry;
mod row;
mod store;
mod virtiofs;

use std::{fs, num::NonZero, thread};

use anyhow::{Result, ensure};
use clap::Args;

use self::{lab::Lab, race::Race, row::Table};
use crate::{
    process,
    setup::{self, Purpose},
    workspace,
};

const RACES: &[&Race] = &[
    &pull::TIME,
    &pull::ONE_LAYER,
    &pull::EQUAL_LAYERS,
    &pull::ZSTD,
    &pull::LIMITED,
    &pull::SHARED,
    &pull::MEMORY,
    &pull::MEMORY_LARGE,
    &copy::REGISTRY,
    &copy::REGISTRY_MEMORY,
    &copy::LAYOUT,
    &copy::LAYOUT_MEMORY,
    &copy::ZSTD,
    &copy::ZSTD_MEMORY,
    &copy::SYNC,
    &copy::SYNC_MEMORY,
    &export::DISK,
    &micro::OPEN,
    &micro::MERGE,
    &micro::LOOKUP,
    &micro::DIFF,
    &store::OPEN,
    &store::SEARCH,
    &store::IMAGES,
    &store::COLLECT,
    &archives::SAVE_DOCKER,
    &archives::SAVE_DOCKER_MEMORY,
    &archives::SAVE_V24,
    &archives::SAVE_V24_MEMORY,
    &archives::SAVE_OCI,
    &archives::SAVE_OCI_MEMORY,
    &archives::LOAD_DOCKER,
    &archives::LOAD_DOCKER_MEMORY,
    &archives::LOAD_OCI,
    &archives::LOAD_OCI_MEMORY,
    &archives::LOAD_SAVED,
    &archives::LOAD_SAVED_MEMORY,
    &mount::WALK,
    &mount::READ,
    &export::DIRECTORY,
    &mount::MEMORY,
    &forms::EROFS_META,
    &forms::HASH_TREE,
    &forms::EROFS,
    &forms::EROFS_SIZE,
    &forms::EROFS_LZ4,
    &forms::EROFS_LZ4_SIZE,
    &forms::EXT4,
    &forms::WALK,
    &forms::READ,
    &virtiofs::READ,
    &boot::BOOT,
];

/// Options of the bench.
#[derive(Args)]
pub struct Options {
    /// Only measure rows whose name starts with this; may be repeated
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Number of turns of each contestant; medians are printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Leave out vmroot and measure only its rivals
    #[arg(long)]
    rivals_only: bool,
}

/// Measures, and prints the table.
pub fn run(options: &Options) -> Result<()> {
    let wanted = |key: &str| options.only.is_empty() || options.only.iter().any(|only| key.starts_with(only.as_str()));
    let known = RACES.iter().flat_map(|race| race.comparisons).map(|comparison| comparison.key);
    ensure!(known.clone().any(wanted), "no such row; there are {}", known.collect::<Vec<_>>().join(", "));
    ensure!(rustix::process::geteuid().is_root(), "the bench mounts, drops caches and builds an image: it needs root");
    setup::prepare(Purpose::Bench);
    if !options.rivals_only {
        process::run(workspace::cargo().args(["build", "--release", "--package", "vmroot-cli"]))?;
    }
    let lab = Lab::prepare(options.runs as usize, options.rivals_only)?;
    let mut rows = Vec::new();
    for race in RACES {
        rows.extend(race.run(&lab, &wanted)?);
    }
    println!("{}", machine());
    print!("{}", Table(rows));
    Ok(())
}

/// Describes the machine, on which the figures depend.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("a CPU of unknown model");
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let load: Vec<_> = read("/proc/loadavg").split_whitespace().take(3).map(str::to_owned).collect();
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{cores} cores of {model}, Linux {}, load at the end {}", kernel.trim(), load.join(" "))
}
