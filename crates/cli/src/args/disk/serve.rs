//! The options of `disk serve`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};

use crate::args::quantity::parse_seconds;
use crate::init::InitArguments;
use crate::top::TopArguments;

/// Options of `disk serve`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("door").args(["vhost_user", "nbd", "fuse"]).required(true).multiple(false))]
pub(crate) struct DiskServeArguments {
    /// Listen for VMMs on this Unix socket, with a virtio block device over vhost-user
    #[arg(long, value_name = "SOCKET")]
    pub(crate) vhost_user: Option<PathBuf>,
    /// Listen for NBD clients on this Unix socket
    #[arg(long, value_name = "SOCKET")]
    pub(crate) nbd: Option<PathBuf>,
    /// Mount this directory with FUSE, with the disk as the file root.img
    #[arg(long, value_name = "DIR")]
    pub(crate) fuse: Option<PathBuf>,
    /// Offer each VMM this many queues, 1 to 64 [default: one for each CPU, at most 4]
    #[arg(long, value_name = "N", conflicts_with_all = ["nbd", "fuse"], value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) queues: Option<u8>,
    /// Let other users access the FUSE mount; unless root mounts, requires user_allow_other in /etc/fuse.conf
    #[arg(long, conflicts_with_all = ["nbd", "vhost_user"])]
    pub(crate) allow_other: bool,
    /// At the end, write to this file in which order blocks of the disk were first read
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Read the blocks of this file of --record ahead, in their order
    #[arg(long, value_name = "FILE")]
    pub(crate) prefetch: Option<PathBuf>,
    /// Wait at most this many seconds for another process's lock on the socket's directory
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) lock_timeout: Duration,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

impl DiskServeArguments {
    /// Returns the socket or the directory.
    pub(crate) fn place(&self) -> &Path {
        let place = self.vhost_user.as_deref().or(self.nbd.as_deref()).or(self.fuse.as_deref());
        place.unwrap_or(Path::new(""))
    }
}
