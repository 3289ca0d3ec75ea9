//! Which image is meant.

use clap::{Args, ValueEnum};
use vmroot::{Platform, PullPolicy};

/// Which image of several.
#[derive(Debug, Clone, Args)]
pub(crate) struct PlatformArguments {
    /// Platform of the image, as in linux/arm64 or linux/arm/v7 [default: this machine's, or that of the only image]
    #[arg(long, global = true, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "arch", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Architecture of the image, for short: amd64, arm64, x86_64, aarch64, arm/v7…
    #[arg(long, global = true, value_name = "ARCH", value_parser = architecture)]
    pub(crate) arch: Option<Platform>,
}

fn platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text).map_err(|error| error.to_string())
}

fn architecture(text: &str) -> Result<Platform, String> {
    Platform::linux(text).map_err(|error| error.to_string())
}

/// When to ask the registry what a name means.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Pull {
    /// Each time; a name with a digest means the same for ever
    Always,
    /// When the image is not here
    Missing,
    /// Never: the image must be here
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
