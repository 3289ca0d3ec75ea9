//! `completions` and `man`, generated from the definitions of the command line.

use std::io::Write;
use std::path::Path;

use bstr::ByteSlice as _;

use crate::args::Arguments;
use crate::{manual, output};

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    // Into a buffer: generate() panics if it cannot write.
    let mut script = Vec::new();
    let mut command = Arguments::program();
    clap_complete::generate(shell, &mut command, "vmroot", &mut script);
    if shell == clap_complete::Shell::Fish {
        script = without_dotted_specs(&command, &script);
    }
    Ok(output::stdout().write_all(&script)?)
}

/// Removes the options whose names have a dot from the list that fish's `argparse` reads. It refuses such a name, and then
/// the script completes nothing.
fn without_dotted_specs(command: &clap::Command, script: &[u8]) -> Vec<u8> {
    let names = command.get_arguments().filter_map(clap::Arg::get_long).filter(|name| name.contains('.'));
    names.fold(script.to_vec(), |script, name| script.replace(format!(" {name}="), ""))
}

/// Writes the man pages to a directory, which is created if it is missing.
pub(crate) fn man(directory: &Path) -> anyhow::Result<()> {
    manual::write(Arguments::program(), directory)
}
