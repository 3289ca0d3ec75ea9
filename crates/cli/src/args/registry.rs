//! The options for registries.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::quantity::parse_seconds;

/// Options for registries.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryArguments {
    /// Speak plain HTTP to every registry [default: only to registries on loopback]
    #[arg(long, global = true)]
    pub(crate) plain_http: bool,
    /// Trust the certificate authorities in this PEM file as well (repeatable)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// Log in to the registry with this user and password
    #[arg(long, global = true, env = "VMROOT_CREDS", hide_env_values = true, value_name = "USER:PASSWORD")]
    pub(crate) creds: Option<String>,
    /// Read credentials from this file only [default: the files of podman and docker]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "creds")]
    pub(crate) authfile: Option<PathBuf>,
    /// Retry a failed request this many times
    #[arg(long, global = true, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// Abort a request after this many seconds without data
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) inactivity_timeout: Duration,
    /// Fetch and index this many layers at once, over as many connections. A slow layer above 64 MiB is fetched in
    /// parts over the free connections
    #[arg(long, global = true, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
}
