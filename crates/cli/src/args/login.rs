//! The options of `login` and `logout`, which have the names and meanings of skopeo's.

use std::path::PathBuf;

use clap::Args;

use super::switches::parse_bool;

/// The options of `login`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoginArguments {
    /// The registry (quay.io, localhost:5000), or a namespace or repository in it
    pub(crate) registry: String,
    /// The user [default: ask]
    #[arg(long, short, value_name = "USER")]
    pub(crate) username: Option<String>,
    /// The password; other users of this machine can see it [default: ask]
    #[arg(long, short, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Print the user that is logged in, and do not log in
    #[arg(long)]
    pub(crate) get_login: bool,
    /// Write to this file, in the form that docker reads [default: podman's file]
    #[arg(long, value_name = "FILE", conflicts_with = "authfile")]
    pub(crate) compat_auth_file: Option<PathBuf>,
}

/// The options of `logout`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogoutArguments {
    /// The registry, namespace or repository, as for `login`
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) registry: Option<String>,
    /// Remove all credentials
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Change this file, in the form that docker reads [default: podman's file]
    #[arg(long, value_name = "FILE", conflicts_with = "authfile")]
    pub(crate) compat_auth_file: Option<PathBuf>,
    /// Accepted for skopeo's command lines: logout sends no requests
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, hide = true)]
    tls_verify: Option<bool>,
}
