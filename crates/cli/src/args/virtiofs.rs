//! The options of `virtiofs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::quantity::parse_seconds;
use crate::init::InitArguments;
use crate::top::TopArguments;

/// Options of `virtiofs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct VirtiofsArguments {
    /// Listen on this Unix socket; the VMM may connect as soon as the socket exists
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// Offer the VMM this many request queues, 1 to 63 [default: one for each CPU, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=63))]
    pub(crate) queues: Option<u8>,
    /// Let this many threads help a queue with several waiting reads, 0 to 64 [default: one for each CPU, from 4 to 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=64))]
    pub(crate) threads: Option<u8>,
    /// Wait at most this many seconds for another process's lock on the socket's directory
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) lock_timeout: Duration,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}
