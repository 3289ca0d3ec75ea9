//! The options for the resources of this machine.

use std::path::PathBuf;

use clap::Args;

/// Resources of this machine that a command uses.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Resources")]
pub(crate) struct ResourceArguments {
    /// Fetch and index this many layers at once, over as many connections. A slow layer above 64 MiB is fetched in
    /// parts over the free connections
    #[arg(long, global = true, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
    /// Keep temporary files of archives in this directory; those of an archive that is written to a file are beside it
    /// [default: the cache]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) tmpdir: Option<PathBuf>,
}
