//! `cargo xtask test`: all checks and tests.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::Result;
use clap::Args;
use vmroot_testkit::guest::GUESTS;
use vmroot_testkit::newer::NEWER;
use vmroot_testkit::skip::{NO_SKIP, SKIP_LIST};

use crate::{
    check, guest, newer, process,
    setup::{self, Purpose},
    workspace,
};

/// Options of the tests.
#[derive(Args)]
pub struct Options {
    /// Let tests fail that this machine cannot run, instead of skipping them
    #[arg(long)]
    no_skips: bool,
}

/// Prepares the machine, and runs the checks, the documentation with warnings as errors, and the unit, property, CLI,
/// system and doc tests.
pub fn run(options: &Options) -> Result<()> {
    setup::prepare(Purpose::Test);
    guest::prepare();
    newer::prepare();
    check::run()?;
    process::run(workspace::cargo().env("RUSTDOCFLAGS", "-D warnings").args([
        "doc",
        "--no-deps",
        "--workspace",
        "--quiet",
    ]))?;
    let skips = workspace::target().join("skipped-tests");
    fs::write(&skips, "")?;
    process::run(workspace::cargo().args(["test", "--quiet"]).args(workspace::START))?;
    let outcome = tests(options, &skips);
    report(&fs::read_to_string(&skips)?);
    outcome
}

fn tests(options: &Options, skips: &Path) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = workspace::cargo();
        cargo.args(arguments).env(SKIP_LIST, skips).env(GUESTS, guest::directory()).env(NEWER, newer::directory());
        if options.no_skips {
            cargo.env(NO_SKIP, "1");
        }
        process::run(&mut cargo)
    };
    if process::capture(Command::new("cargo-nextest").arg("--version")).is_ok() {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])?;
        return cargo(&["test", "--workspace", "--doc", "--quiet"]);
    }
    cargo(&["test", "--workspace", "--no-fail-fast"])
}

fn report(skips: &str) {
    let mut reasons = BTreeMap::<&str, usize>::new();
    for reason in skips.lines() {
        *reasons.entry(reason).or_default() += 1;
    }
    if reasons.is_empty() {
        eprintln!("nothing was skipped");
    }
    for (reason, tests) in reasons {
        eprintln!("skipped ({tests} times): {reason}");
    }
}
