//! `completions` and `man`, made of the same definitions as the program.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::args::Arguments;

pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    clap_complete::generate(shell, &mut Arguments::command(), "vmroot", &mut io::stdout());
    Ok(())
}

pub(crate) fn man(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    clap_mangen::generate_to(Arguments::command(), directory).with_context(|| directory.display().to_string())
}
