//! The program `vmroot`: arguments in, library calls, text out.

mod args;
mod bars;
mod commands;
mod context;
mod environment;
mod exit;
mod init;
mod output;
mod places;
mod signals;
mod top;

use std::process::ExitCode;

use clap::Parser;

use args::Arguments;
use context::Context;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.global.verbose);
    let result = Context::new(&arguments.global).and_then(|context| commands::run(&context, arguments.command));
    exit::code(result)
}

/// Warnings always, more with `-v`, all on standard error.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let filter = tracing_subscriber::EnvFilter::new(format!("off,vmroot={level}"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
