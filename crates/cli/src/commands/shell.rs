//! `completions` and `man`, generated from the definitions of the command line.

use std::path::Path;

use crate::args::Arguments;
use crate::{completion, manual};

/// Prints the completion script of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    completion::print_registration(shell)
}

/// Writes the man pages to a directory, which is created if it is missing.
pub(crate) fn man(directory: &Path) -> anyhow::Result<()> {
    manual::write(Arguments::program(), directory)
}
