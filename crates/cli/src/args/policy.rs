//! The options and commands for policies on signatures.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The options for policies on signatures. Those of skopeo have their names and meanings.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Signature options")]
pub(crate) struct PolicyArguments {
    /// Check signatures as this policy.json requires
    /// [default: ~/.config/containers/policy.json or /etc/containers/policy.json, if one exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Ask this policy first: it has the form of a policy.json, and may have requirements that only vmroot knows
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) vmroot_policy: Option<PathBuf>,
    /// Accept all images, without a check of their signatures
    #[arg(long, global = true)]
    pub(crate) insecure_policy: bool,
    /// Refuse images of which the policy verifies no signature
    #[arg(long, global = true)]
    pub(crate) require_signed: bool,
}

/// The commands of `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print which requirements of the policy apply to an image, and whether its signatures meet them
    Explain {
        /// Reference (alpine:3.20) or TRANSPORT:DETAILS (oci:DIR, dir:DIR…)
        #[arg(value_name = "IMAGE")]
        image: String,
    },
    /// Check the signatures of an image that is in the cache, and fetch nothing
    Check {
        /// Name, id, or the beginning of an id
        #[arg(value_name = "IMAGE")]
        image: String,
    },
}
