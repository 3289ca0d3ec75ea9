//! The completion of bash.
//!
//! bash splits words at `:` and `=`, which names of images and options have, and replaces only the part after them. So
//! the script joins the words again, and removes from the candidates the part that stays. It also quotes candidates.

use std::ffi::OsString;
use std::io::{Result, Write};
use std::path::Path;

use clap::Command;
use clap_complete::env::EnvCompleter;

const SCRIPT: &str = include_str!("vmroot.bash");

/// The completion of bash, with names that have colons.
#[derive(Debug)]
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(&self, variable: &str, _: &str, bin: &str, _: &str, out: &mut dyn Write) -> Result<()> {
        out.write_all(SCRIPT.replace("VARIABLE", variable).replace("PROGRAM", bin).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        directory: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<()> {
        clap_complete::env::Bash.write_complete(command, words, directory, out)
    }
}
