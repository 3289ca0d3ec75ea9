//! What may be typed after `layer`.

use std::path::PathBuf;

use clap::Subcommand;

/// Work on one layer.
#[derive(Debug, Subcommand)]
pub(crate) enum LayerCommand {
    /// Read a layer's tar, compressed or not, and write its .idx and .contents; prints the diff id
    Index {
        /// The tar; `-` for standard input
        tar: PathBuf,
        /// Where to write
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
    /// Check an .idx, and every file in the .contents beside it
    Verify {
        /// The .idx
        index: PathBuf,
    },
    /// Print an .idx as text, one line a path
    Dump {
        /// The .idx
        index: PathBuf,
    },
}
