//! The program `vmroot`: parses the command line, calls the library, and prints the results.

mod args;
mod bars;
mod commands;
mod context;
mod environment;
mod exit;
mod init;
mod interruptible;
mod log;
mod output;
mod paths;
mod printable;
mod registry_access;
mod short_names;
mod signals;
mod top;

use std::process::ExitCode;

use clap::Parser;

use args::Arguments;
use context::Context;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.global.verbose, arguments.global.quiet);
    if arguments.global.quiet {
        output::silence_notes();
    }
    let result = Context::new(&arguments.global).and_then(|context| commands::run(&context, arguments.command));
    exit::exit_code(result)
}
