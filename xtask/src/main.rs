//! The project's own chores: `cargo xtask <chore>`.

mod bench;
mod check;
mod demo;
mod fresh;
mod fuzz;
mod graph;
mod guest;
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
#[command(name = "cargo xtask", about = "The project's own chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// The fast loop: format, crate graph, pages and lints
    Check,
    /// Everything that can fail: set-up, checks, and all tests
    Test(test::Options),
    /// Run `.ci/run` for HEAD on a new minimal Debian in target/fresh, as root
    Fresh(fresh::Options),
    /// Run each fuzz target for a while
    Fuzz(fuzz::Options),
    /// Check licences, manifests, packages and the public API before a release
    ReleaseCheck,
    /// Fetch kernels and shells of guests, as `test` does
    Guests,
    /// Make testdata/ anew
    Testdata,
    /// The main job once through: pull, mount, list, read and export an image for two architectures
    Demo(demo::Options),
    /// Serve the image of testdata/ from two registries on loopback, to try things with
    Serve,
    /// Measure vmroot against its rivals and print the table of ratios and targets
    Bench(bench::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().chore {
        Chore::Check => check::run(),
        Chore::Test(options) => test::run(&options),
        Chore::Fresh(options) => fresh::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::ReleaseCheck => release::run(),
        Chore::Guests => {
            guest::prepare();
            Ok(())
        }
        Chore::Testdata => testdata::remake(),
        Chore::Demo(options) => demo::run(&options),
        Chore::Serve => serve::run(),
        Chore::Bench(options) => bench::run(&options),
    }
}
