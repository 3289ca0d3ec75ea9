//! The options for registries.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::quantity::parse_seconds;
use super::switches::parse_bool;

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
    /// Use the certificates in this directory: *.crt, and *.cert with *.key [default: those in certs.d]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
    /// Require HTTPS and valid certificates, or neither [default: as in registries.conf]
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    pub(crate) tls_verify: Option<bool>,
    /// Log in to the registry with this user and password; other users of this machine can see an option's value
    #[arg(long, global = true, env = "VMROOT_CREDS", hide_env_values = true, value_name = "USER[:PASSWORD]")]
    pub(crate) creds: Option<String>,
    /// Log in to the registry as this user
    #[arg(long, global = true, value_name = "USER", conflicts_with = "creds")]
    pub(crate) username: Option<String>,
    /// Log in to the registry with this password
    #[arg(long, global = true, value_name = "PASSWORD", conflicts_with = "creds")]
    pub(crate) password: Option<String>,
    /// Send this token to the registry, in place of a user and password
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) registry_token: Option<String>,
    /// Do not log in
    #[arg(long, global = true, conflicts_with_all = ["creds", "username", "password"])]
    pub(crate) no_creds: bool,
    #[command(flatten)]
    pub(crate) files: RegistryFiles,
    /// Retry a failed request this many times
    #[arg(long, global = true, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// Abort a request after this many seconds without data
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) inactivity_timeout: Duration,
    /// Limit TLS to the versions, cipher suites and named groups in this YAML file (containers-tls-details.yaml(5))
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_details: Option<PathBuf>,
    /// Begin the User-Agent header with this text
    #[arg(long, global = true, value_name = "TEXT")]
    pub(crate) user_agent_prefix: Option<String>,
}

/// The files with credentials and the configuration of registries.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryFiles {
    /// Read credentials from this file only [default: the files of podman and docker]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Read mirrors and short names from this file [default: ~/.config/containers/registries.conf, or that in /etc]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) registries_conf: Option<PathBuf>,
    /// Read the drop-ins of registries.conf from this directory only
    #[arg(long, global = true, value_name = "DIR", hide = true)]
    pub(crate) registries_conf_dir: Option<PathBuf>,
    /// Read the places of signatures from this directory
    /// [default: ~/.config/containers/registries.d, or that in /etc]
    #[arg(long = "registries.d", global = true, value_name = "DIR")]
    pub(crate) registries_d: Option<PathBuf>,
    /// Read the system's configuration below this directory instead of /
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) sysroot: Option<PathBuf>,
}
