//! What may be typed after `mount`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::init::InitArguments;
use crate::top::TopArguments;

/// How to mount.
#[derive(Debug, Clone, Args)]
pub(crate) struct MountArguments {
    /// What serves the mount; auto chooses, and -v says what
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Return when the mount answers, and serve it in the background
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Append what a detached mount has to say to this file [default: mount-PID.log in $XDG_RUNTIME_DIR/vmroot, in
    /// /run/vmroot for root, or in the cache]
    #[arg(long, value_name = "FILE", requires = "detach")]
    pub(crate) log: Option<PathBuf>,
    /// Let other users see a FUSE mount; needs user_allow_other in /etc/fuse.conf unless root mounts
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Make a writable view: changes go to this directory, which is made if it is missing; root only
    #[arg(long, value_name = "DIR", requires = "work")]
    pub(crate) upper: Option<PathBuf>,
    /// An empty directory for the writable view to work in, on the same file system as --upper; made if it is missing
    #[arg(long, value_name = "DIR", requires = "upper")]
    pub(crate) work: Option<PathBuf>,
    /// Honour setuid bits and device nodes of the image; root only
    #[arg(long)]
    pub(crate) suid_dev: bool,
    /// How many threads answer the kernel of a FUSE mount [default: one for each CPU, from 2 to 8]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
}

/// What serves a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// The best there is
    Auto,
    /// A process of ours, by FUSE
    Fuse,
    /// The kernel, by EROFS over the cache's own files; root only, from Linux 6.12 on
    Erofs,
}
