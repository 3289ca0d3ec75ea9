//! What may be typed after `virtiofs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::quantity::seconds;
use crate::init::InitArguments;
use crate::top::TopArguments;

/// How to serve a root.
#[derive(Debug, Clone, Args)]
pub(crate) struct VirtiofsArguments {
    /// The socket that the VMM connects to; when it is there, the VMM may
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// How many request queues the VMM may ask for, 1 to 63 [default: one for each CPU, 8 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=63))]
    pub(crate) queues: Option<u8>,
    /// How many threads help a queue in which several reads wait, 0 to 64 [default: one for each CPU, from 4 to 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=64))]
    pub(crate) threads: Option<u8>,
    /// How many seconds to wait for a lock on the socket's directory that another process holds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) lock_timeout: Duration,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}
