//! The choice among images of several platforms.

use clap::{Args, ValueEnum};
use vmroot::{Platform, PullPolicy};

use super::skopeo::OverrideArguments;

/// Options that choose among images of several platforms.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Image options")]
pub(crate) struct PlatformArguments {
    /// Use the image for this platform, as in linux/arm64 or linux/arm/v7 [default: this
    /// machine's; the only image of an archive is used for any platform]
    #[arg(long, global = true, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "arch", value_parser = parse_platform)]
    pub(crate) platform: Option<Platform>,
    /// Use the image for this architecture of Linux: amd64, arm64, x86_64, aarch64, arm/v7…
    #[arg(long, global = true, value_name = "ARCH", value_parser = parse_architecture)]
    pub(crate) arch: Option<Platform>,
    #[command(flatten)]
    pub(crate) overrides: OverrideArguments,
}

/// The choice between the cache and a registry.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Image options")]
pub(crate) struct PullArguments {
    /// Ask the registry for an image's name [default: always for `pull`, missing for other commands]
    #[arg(long = "pull", global = true, value_name = "WHEN")]
    pub(crate) when: Option<Pull>,
}

pub(super) fn parse_platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text).map_err(|error| error.to_string())
}

fn parse_architecture(text: &str) -> Result<Platform, String> {
    Platform::linux(text).map_err(|error| error.to_string())
}

/// The policy for resolving an image's name in its registry.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Pull {
    /// Each time; a name with a digest is only resolved once
    Always,
    /// If the image is not in the cache
    Missing,
    /// Never; fail if the image is not in the cache
    Never,
}

impl From<Pull> for PullPolicy {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Always => Self::Always,
            Pull::Missing => Self::Missing,
            Pull::Never => Self::Never,
        }
    }
}
