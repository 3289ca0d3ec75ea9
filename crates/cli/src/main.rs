//! The program `vmroot`: parses the command line, calls the library, and prints the results.

mod args;
mod commands;
mod completion;
mod context;
mod disk_files;
mod display;
mod docker_format;
mod encryption;
mod environment;
mod exit;
mod failure;
mod human;
mod init;
mod interruptible;
mod keys;
mod log;
mod manual;
mod mounts;
mod output;
mod paths;
mod policy;
mod printable;
mod progress;
mod prompt;
mod registry_access;
mod remedy;
mod short_names;
mod signals;
mod similar;
mod times;
mod top;
mod transports;
mod usage;

use std::process::ExitCode;

use args::Arguments;
use context::Context;
use remedy::Failed;

fn main() -> ExitCode {
    vmroot_sys::resolve_with_built_in_services();
    if completion::answer() {
        return ExitCode::SUCCESS;
    }
    let (arguments, name) = Arguments::of_process();
    let global = match arguments.global.with_skopeo() {
        Ok(global) => global,
        Err(text) => {
            let failed = Failed { verb: &name, context: None, images: &[] };
            return exit::exit_code(Err(exit::UsageError(text).into()), &failed);
        }
    };
    display::start(global.progress, global.quiet);
    log::start(global.verbose, global.quiet);
    if global.quiet {
        output::silence_notes();
    }
    if let Some(time) = global.command_timeout.filter(|time| !time.is_zero()) {
        signals::cancel_after(time);
    }
    let images = commands::image_names(&arguments.command);
    let failed = |context| Failed { verb: &name, context, images: &images };
    match Context::new(&global) {
        Ok(context) => {
            let result = commands::run(&context, &name, arguments.command);
            display::close();
            exit::exit_code(result, &failed(Some(&context)))
        }
        Err(error) => exit::exit_code(Err(error), &failed(None)),
    }
}
