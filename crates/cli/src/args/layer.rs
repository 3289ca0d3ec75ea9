//! The commands under `layer`.

use std::path::PathBuf;

use clap::Subcommand;

/// The commands under `layer`.
#[derive(Debug, Subcommand)]
pub(crate) enum LayerCommand {
    /// Read a layer's tar, compressed or not, write its .idx and .contents, and print its diff id
    Index {
        /// The tar; `-` is standard input
        tar: PathBuf,
        /// Write the files to this directory
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
    /// Verify an .idx, and every file in the .contents beside it
    Verify {
        /// The .idx
        index: PathBuf,
    },
    /// Print an .idx as text, one line for each path
    Dump {
        /// The .idx
        index: PathBuf,
    },
}
