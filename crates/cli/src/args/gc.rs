//! Options of `gc`.

use std::time::Duration;

use clap::Args;

use super::quantity::{parse_duration_with_days, parse_size};

/// Options of `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Print the images and files that would be removed, without removing them
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Remove the images without a name as well, such as those whose tags have moved
    #[arg(long)]
    #[arg(help_heading = "Images to remove")]
    pub(crate) dangling: bool,
    /// Remove all images that no process, mount or lease uses
    #[arg(long)]
    #[arg(help_heading = "Images to remove")]
    pub(crate) unused: bool,
    /// Remove images that were not used for this long, such as 7d or 12h; with --dangling or --unused, only of those
    #[arg(long, value_name = "TIME", value_parser = parse_duration_with_days)]
    #[arg(help_heading = "Images to remove")]
    pub(crate) older_than: Option<Duration>,
    /// Remove further images, the least recently used first, until the cache takes at most this disk space
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    #[arg(help_heading = "Images to remove")]
    pub(crate) max_size: Option<u64>,
    /// Keep the blobs of removed images, so that they can be pulled again without a download
    #[arg(long)]
    pub(crate) keep_blobs: bool,
}
