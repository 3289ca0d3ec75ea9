//! The way to registries.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::quantity::seconds;

/// The way to registries.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryArguments {
    /// Speak plain HTTP to every registry, not to those on loopback only
    #[arg(long, global = true)]
    pub(crate) plain_http: bool,
    /// Trust the certificate authorities in this PEM file as well; may be given several times
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// User and password for the registry
    #[arg(long, global = true, env = "VMROOT_CREDS", hide_env_values = true, value_name = "USER:PASSWORD")]
    pub(crate) creds: Option<String>,
    /// Read credentials from this file alone [default: those of podman and docker]
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "creds")]
    pub(crate) authfile: Option<PathBuf>,
    /// How often to try again what failed
    #[arg(long, global = true, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// How long a registry may send nothing
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) inactivity_timeout: Duration,
    /// How many layers to fetch and index at once, and over how many connections: a layer above 64 MiB that comes slowly
    /// is fetched in parts over those that are free
    #[arg(long, global = true, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
}
