//! `cargo xtask fuzz`: each fuzz target for a while, from the inputs that earlier runs found.
//!
//! The targets are built by the stable compiler with the coverage flags that cargo-fuzz passes, so no nightly compiler is
//! needed. Inputs are kept in `target/fuzz/corpus/TARGET`, and those that fail in `target/fuzz/failures/TARGET`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    process,
    setup::{self, Purpose},
    workspace,
};

/// Coverage for libFuzzer, by LLVM passes that stable compilers have.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

/// How to run.
#[derive(Args)]
pub struct Options {
    /// Run each target for this many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Targets to run; all of fuzz/fuzz_targets by default
    targets: Vec<String>,
}

/// Builds the targets and runs them one after the other. A failure does not end the run of the others.
pub fn run(options: &Options) -> Result<()> {
    setup::prepare(Purpose::Fuzz);
    let targets = if options.targets.is_empty() { all()? } else { options.targets.clone() };
    let directory = workspace::target().join("fuzz");
    let mut build = workspace::cargo();
    build.current_dir(workspace::root().join("fuzz")).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &directory);
    // A target triple keeps the flags away from build scripts.
    build.args(["build", "--release", "--quiet", "--target", HOST]);
    process::run(build.args(targets.iter().flat_map(|target| ["--bin", target])))?;
    let mut failed = Vec::new();
    for target in &targets {
        let corpus = directory.join("corpus").join(target);
        let inputs = directory.join("failures").join(target);
        for directory in [&corpus, &inputs] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        let mut fuzz = Command::new(directory.join(HOST).join("release").join(target));
        fuzz.arg(&corpus).arg(format!("-max_total_time={}", options.seconds));
        fuzz.arg(format!("-artifact_prefix={}/", inputs.display()));
        fuzz.args(["-rss_limit_mb=4096", "-timeout=60", "-print_final_stats=1", "-print_funcs=0", "-verbosity=0"]);
        if let Err(error) = process::run(&mut fuzz) {
            failed.push(format!("{target}: the input is in {}: {error:#}", inputs.display()));
        }
    }
    if !failed.is_empty() {
        bail!("targets failed:\n  {}", failed.join("\n  "));
    }
    Ok(())
}

/// The triple of this machine.
const HOST: &str = if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

fn all() -> Result<Vec<String>> {
    let directory: PathBuf = workspace::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    if names.is_empty() {
        bail!("{}: no targets", directory.display());
    }
    names.sort();
    Ok(names)
}
