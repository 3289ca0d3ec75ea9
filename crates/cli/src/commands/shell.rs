//! `completions` and `man`, generated from the definitions of the command line.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::args::Arguments;
use crate::{manual, output};

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    // Into a buffer: generate() panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "vmroot", &mut script);
    Ok(output::stdout().write_all(&script)?)
}

/// Writes the man pages to a directory, which is created if it is missing.
pub(crate) fn man(directory: &Path) -> anyhow::Result<()> {
    manual::write(Arguments::command(), directory)
}
