//! Subcommands of `lease`.

use std::time::Duration;

use clap::Subcommand;

use super::quantity::parse_duration_with_days;

/// Parses the time until a lease ends.
fn parse_expiry(text: &str) -> Result<Duration, String> {
    let time = parse_duration_with_days(text)?;
    if time.is_zero() { Err("a lease needs a time longer than 0".to_owned()) } else { Ok(time) }
}

/// Subcommands of `lease`.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Keep images in the cache until the lease is released or expires, and print the lease's id
    Create {
        /// References, ids, or prefixes of ids
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// The id of the lease: letters, digits, dots, underscores and dashes [default: a random one]
        #[arg(long)]
        id: Option<String>,
        /// The time until the lease ends by itself, such as 24h or 7d [default: never]
        #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
        expire: Option<Duration>,
    },
    /// List the leases
    #[command(alias = "ls")]
    List,
    /// End leases; `gc` then removes the files that no image needs
    Release {
        /// Ids of leases
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}
