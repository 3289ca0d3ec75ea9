//! The options of `mount` and `umount`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::quantity::parse_size;
use crate::init::InitArguments;
use crate::top::TopArguments;

/// Options of `mount`.
#[derive(Debug, Clone, Args)]
pub(crate) struct MountArguments {
    /// Return once the mount is ready, and serve it in the background
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Append the messages of a detached mount to this file [default: mount-PID.log in $XDG_RUNTIME_DIR/vmroot, else
    /// for root in /run/vmroot, else in the cache]
    #[arg(long, value_name = "FILE", requires = "detach")]
    pub(crate) log: Option<PathBuf>,
    /// Create the mountpoint and its parents if they are missing, as mount(8) does; `umount --rmdir` removes it
    #[arg(long, short = 'm')]
    pub(crate) mkdir: bool,
    /// Mount over another mount, or over a directory that is not empty, and so hide what it shows
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Mount writable, with the changes in this directory, which is created if it is missing; without --work, on this disk
    /// of `vmroot boot --upper` (root only)
    #[arg(long, value_name = "DIR|DISK")]
    #[arg(help_heading = "Writable mount")]
    pub(crate) upper: Option<PathBuf>,
    /// Make a missing --upper disk of this size; it takes no space until files are written
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "upper", conflicts_with = "work")]
    #[arg(help_heading = "Writable mount")]
    pub(crate) upper_size: Option<u64>,
    /// Use an --upper disk that was made over another image, and record this image
    #[arg(long, requires = "upper", conflicts_with = "work")]
    #[arg(help_heading = "Writable mount")]
    pub(crate) rebase: bool,
    /// Use this empty directory as overlayfs's work directory, on the file system of --upper; it is created if it is
    /// missing
    #[arg(long, value_name = "DIR", requires = "upper")]
    #[arg(help_heading = "Writable mount")]
    pub(crate) work: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) top: TopArguments,
    #[command(flatten)]
    pub(crate) init: InitArguments,
    /// Mount with this driver; -v logs the choice of `auto`
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    #[arg(help_heading = "Driver")]
    pub(crate) driver: Driver,
    /// Let other users access a FUSE mount; unless root mounts, requires user_allow_other in /etc/fuse.conf
    #[arg(long)]
    #[arg(help_heading = "Driver")]
    pub(crate) allow_other: bool,
    /// Honour the setuid bits and device nodes of the image (root only)
    #[arg(long)]
    #[arg(help_heading = "Driver")]
    pub(crate) suid_dev: bool,
    /// Serve a FUSE mount with this many threads [default: one for each CPU, from 2 to 8]
    #[arg(long, value_name = "N", value_parser = parse_threads)]
    #[arg(help_heading = "Driver")]
    pub(crate) threads: Option<usize>,
}

/// Options of `umount`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UmountArguments {
    /// The mountpoints; of several mounts on one directory, the topmost is unmounted
    #[arg(required = true, value_name = "DIRECTORY")]
    pub(crate) directories: Vec<PathBuf>,
    /// Unmount now even if it is in use; it ends with its last user
    #[arg(long, short)]
    pub(crate) lazy: bool,
    /// Remove the mountpoint too, if it is an empty directory
    #[arg(long)]
    pub(crate) rmdir: bool,
}

/// Parses a number of threads, of which there is at least one.
fn parse_threads(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected 1 or more".to_owned())
}

/// The driver of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// EROFS where it is possible, else FUSE
    Auto,
    /// FUSE, served by a vmroot process
    Fuse,
    /// The kernel's EROFS over the cache's files; requires root and Linux 6.12
    Erofs,
}
