//! `cargo xtask`: says what a task does, builds the program of the tasks, and becomes it.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use xtask_start::{
    demo,
    error::{Error, Result},
    guest, process, setup, tasks, workspace,
};

/// The exit code of a wrong usage, as of clap.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let task = arguments.first().and_then(|task| task.to_str()).unwrap_or("--help").to_owned();
    let Some(about) = tasks::about(&task) else {
        if ["--help", "-h", "help"].contains(&task.as_str()) {
            print!("{}", tasks::help());
            return ExitCode::SUCCESS;
        }
        eprint!("error: there is no task {task:?}\n\n{}", tasks::help());
        return ExitCode::from(USAGE);
    };
    match run(&task, about, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &str, about: &str, arguments: &[OsString]) -> Result<()> {
    let asks_for_help =
        arguments.iter().take_while(|word| *word != "--").any(|word| *word == "--help" || *word == "-h");
    match task {
        "demo" => return demo::run(&arguments[1..]),
        _ if asks_for_help => {}
        _ => eprintln!("{task}: {about}"),
    }
    match task {
        "guests" if arguments.len() == 1 => {
            setup::prepare(setup::Purpose::Guests);
            guest::prepare();
            eprintln!("kernels and shells are in {}", workspace::shown(&guest::directory()).display());
            Ok(())
        }
        _ => become_tasks(arguments),
    }
}

/// Builds the package `xtask`, and replaces this process by its program. Returns only if that fails.
fn become_tasks(arguments: &[OsString]) -> Result<()> {
    let program = workspace::target().join("debug/xtask");
    if !program.exists() {
        eprintln!("first the tasks are built, once, which takes about two minutes");
    }
    process::run(workspace::cargo().args(["build", "--package", "xtask"]))?;
    let error = Command::new(&program).args(arguments).exec();
    Err(Error::new(format!("cannot start {}: {error}", program.display())))
}
