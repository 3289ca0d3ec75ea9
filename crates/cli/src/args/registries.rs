//! The commands for the configuration of registries.

use clap::Subcommand;

/// The commands of `registries`.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistriesCommand {
    /// Print which file, mirrors, certificates and credential a reference would use
    Explain {
        /// Reference (alpine:3.20), or docker://NAME, which is never read as a short name
        reference: String,
    },
}
