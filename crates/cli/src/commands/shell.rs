//! `completions` and `man`, made of the same definitions as the program.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::args::Arguments;
use crate::output;

pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    // It panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "vmroot", &mut script);
    Ok(output::raw().write_all(&script)?)
}

pub(crate) fn man(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    clap_mangen::generate_to(Arguments::command(), directory).with_context(|| directory.display().to_string())
}
