//! The options of `disk ls`.

use std::path::PathBuf;

use clap::Args;

/// The options of `disk ls`.
#[derive(Debug, Args)]
pub(crate) struct DiskLsArguments {
    /// The disk
    pub(crate) disk: PathBuf,
    /// A directory or file of the disk
    #[arg(default_value = "/")]
    pub(crate) path: PathBuf,
    /// Print attributes: mode, links, owner, size and time
    #[arg(long, short)]
    pub(crate) long: bool,
    /// List a directory itself, not its entries
    #[arg(long, short)]
    pub(crate) directory: bool,
    /// Print sizes with units
    #[arg(long)]
    pub(crate) human_readable: bool,
}
