//! The options of `verify`.

use clap::Args;

/// The options of `verify`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArguments {
    /// Repair damaged and missing files, and move those that cannot be repaired to the quarantine
    #[arg(long)]
    pub(crate) repair: bool,
    /// Do not ask registries for damaged blobs; archives and layouts on this machine are read. --pull never is the same
    #[arg(long, requires = "repair")]
    pub(crate) offline: bool,
    /// Remove the files in the quarantine, and print what they were, instead of verifying
    #[arg(long, conflicts_with = "repair")]
    pub(crate) empty_quarantine: bool,
}
