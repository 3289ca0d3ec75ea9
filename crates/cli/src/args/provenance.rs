//! The options of `provenance`.

use clap::Args;

use super::{DiskFormat, RootHashArguments, Salt};

/// The options of `provenance`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProvenanceArguments {
    /// Print the dm-verity root hash of this disk image
    #[arg(long, value_enum, default_value_t = DiskFormat::ErofsMeta)]
    pub(crate) format: DiskFormat,
    /// Compute no root hash
    #[arg(long, conflicts_with_all = ["format", "verity_salt"])]
    pub(crate) no_root_hash: bool,
    /// Hash with this salt, in hexadecimal digits; `-` is none [default: 32 zero bytes]
    #[arg(long, value_name = "HEX|-")]
    pub(crate) verity_salt: Option<Salt>,
    #[command(flatten)]
    pub(crate) disk: RootHashArguments,
}
