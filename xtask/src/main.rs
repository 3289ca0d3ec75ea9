//! The project's development tasks: `cargo xtask <task>`.

mod bench;
mod check;
mod demo;
mod features;
mod fresh;
mod fuzz;
mod graph;
mod guest;
mod init;
mod pages;
mod process;
mod release;
mod serve;
mod setup;
mod test;
mod testdata;
mod walk;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's development tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the fast checks: format, crate graph, pages and lints
    Check,
    /// Install what is needed, and run all checks and tests
    Test(test::Options),
    /// Run `.ci/run` for HEAD on a new minimal Debian in target/fresh; needs root
    Fresh(fresh::Options),
    /// Run each fuzz target for a while
    Fuzz(fuzz::Options),
    /// Build a program outside the workspace with each feature of vmroot alone, and run it where this machine can
    Features,
    /// Check licences, manifests, packages and the public API before a release
    ReleaseCheck,
    /// Write crates/guest/init, from which `vmroot-guest` builds the init
    Init,
    /// Fetch kernels and shells of guests, as `test` does
    Guests,
    /// Rebuild testdata/
    Testdata,
    /// Pull, mount, list, read and export an image for two architectures
    Demo(demo::Options),
    /// Serve the image of testdata/ from two registries on loopback
    Serve,
    /// Measure vmroot and its rivals, and print a table of ratios and targets
    Bench(bench::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Check => check::run(),
        Task::Test(options) => test::run(&options),
        Task::Fresh(options) => fresh::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Features => features::run(),
        Task::ReleaseCheck => release::run(),
        Task::Init => init::write(),
        Task::Guests => {
            guest::prepare();
            Ok(())
        }
        Task::Testdata => testdata::remake(),
        Task::Demo(options) => demo::run(&options),
        Task::Serve => serve::run(),
        Task::Bench(options) => bench::run(&options),
    }
}
