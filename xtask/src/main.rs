//! The project's development tasks: `cargo xtask <task>`.

mod bench;
mod check;
mod dist;
mod features;
mod fresh;
mod fuzz;
mod graph;
mod init;
mod newer;
mod pages;
mod process;
mod release;
mod serve;
mod test;
mod testdata;
mod walk;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask_start::{guest, setup, tasks, workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's development tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

/// The tasks. `xtask_start` runs `demo` and `guests`, and has a line about each task.
#[derive(Subcommand)]
enum Task {
    #[command(about = tasks::about("check"))]
    Check,
    #[command(about = tasks::about("test"))]
    Test(test::Options),
    #[command(about = tasks::about("fresh"))]
    Fresh(fresh::Options),
    #[command(about = tasks::about("fuzz"))]
    Fuzz(fuzz::Options),
    #[command(about = tasks::about("features"))]
    Features,
    #[command(about = tasks::about("release-check"))]
    ReleaseCheck,
    #[command(about = tasks::about("init"))]
    Init,
    #[command(about = tasks::about("testdata"))]
    Testdata,
    #[command(about = tasks::about("serve"))]
    Serve,
    #[command(about = tasks::about("bench"))]
    Bench(bench::Options),
    #[command(about = tasks::about("dist"))]
    Dist(dist::Options),
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
        Task::Testdata => testdata::remake(),
        Task::Serve => serve::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Dist(options) => dist::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn each_task_is_in_the_help() {
        let command = Arguments::command();
        let mut here: Vec<_> = command.get_subcommands().map(|task| task.get_name().to_owned()).collect();
        here.extend(["demo", "guests"].map(str::to_owned));
        here.sort();
        let mut listed: Vec<_> = tasks::TASKS.iter().map(|(name, _)| (*name).to_owned()).collect();
        listed.sort();
        assert_eq!(here, listed);
    }
}
