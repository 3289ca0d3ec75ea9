//! The program `vmroot`: arguments in, library calls, text out.

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
mod places;
mod printable;
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
        output::be_quiet();
    }
    let result = Context::new(&arguments.global).and_then(|context| commands::run(&context, arguments.command));
    exit::code(result)
}
