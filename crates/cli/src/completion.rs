//! Completion of command lines: the shell runs the program for each completion, and the program prints the candidates.
//!
//! `vmroot completions SHELL` prints the script that registers it. A completion reads the cache, and sends no requests. It
//! prints no errors: without candidates, the shell completes nothing.

mod bash;
mod candidates;

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, FromArgMatches as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};

use crate::args::{Arguments, Global};
use crate::context::Context;
use crate::{environment, output};

/// The variable by which a shell asks for candidates. It has the name of the shell.
const VARIABLE: &str = "VMROOT_COMPLETE";

const SHELLS: [&dyn EnvCompleter; 5] = [&bash::Bash, &Elvish, &Fish, &Powershell, &Zsh];

/// Prints the candidates if a shell has asked for them. Returns whether it has.
pub(crate) fn answer() -> bool {
    let completion = CompleteEnv::with_factory(program).var(VARIABLE).shells(Shells(&SHELLS));
    let directory = std::env::current_dir().ok();
    // An error is no candidate: the shell would print it into the line that the user types.
    completion.try_complete(std::env::args_os(), directory.as_deref()).unwrap_or(true)
}

/// Prints the script that registers the completion in a shell.
pub(crate) fn print_registration(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    match Shells(&SHELLS).completer(&shell.to_string()) {
        Some(completer) => completer.write_registration(VARIABLE, "vmroot", "vmroot", "vmroot", &mut script)?,
        None => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
    }
    Ok(output::stdout().write_all(&script)?)
}

/// Returns the definition of the command line, with completers for arguments.
fn program() -> Command {
    // Hidden options, which other commands have, are not offered.
    let program = Arguments::program()
        .mut_args(|argument| if argument.is_hide_set() { argument.global(false) } else { argument });
    program.mut_subcommands(with_completers)
}

fn with_completers(command: Command) -> Command {
    let name = command.get_name().to_owned();
    command.mut_args(|argument| with_completer(&name, argument)).mut_subcommands(with_completers)
}

/// Gives an argument the completer for its kind, which follows from its id.
fn with_completer(command: &str, argument: Arg) -> Arg {
    let complete: fn(&OsStr) -> Vec<CompletionCandidate> = match (command, argument.get_id().as_str()) {
        ("load", _) => return argument,
        ("umount", "directories") => candidates::mounts,
        ("release", "ids") => candidates::leases,
        ("images" | "untag", "names") => candidates::names,
        ("rm" | "df" | "create" | "save", "images") | ("tag", "source") => candidates::images,
        ("pull", "references") | (_, "old" | "new") | ("copy", "source" | "destination") => candidates::sources,
        (_, "image") => candidates::sources,
        ("stat" | "readlink" | "resolve" | "why", "path") | (_, "paths") => candidates::paths,
        ("cp", "operands") => candidates::operands,
        ("verify", "operands") => candidates::disks,
        _ => return argument,
    };
    argument.add(ArgValueCompleter::new(complete))
}

/// Returns what the words before the completed one give, as far as they can be parsed.
fn given() -> Option<ArgMatches> {
    let words: Vec<_> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let last = words.len().saturating_sub(1);
    let completed = environment::completed_word().unwrap_or(last).min(words.len());
    Arguments::program().ignore_errors(true).try_get_matches_from(&words[..completed]).ok()
}

/// Returns the options of the command line, unless the cache does not exist.
fn context(given: &ArgMatches) -> Option<Context> {
    let global = Global::from_arg_matches(given).ok()?;
    let context = Context::new(&global).ok()?;
    let shared: Vec<PathBuf> = context.shared_caches().to_vec();
    let exists = context.cache().is_dir() || shared.iter().any(|directory| directory.is_dir());
    exists.then(|| context.for_guest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_valid() {
        program().debug_assert();
    }

    #[test]
    fn each_shell_has_a_script() {
        use clap::ValueEnum as _;
        for shell in clap_complete::Shell::value_variants() {
            assert!(Shells(&SHELLS).completer(&shell.to_string()).is_some(), "{shell}");
        }
    }
}
