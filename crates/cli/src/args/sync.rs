//! The options of `sync`, which have the names and meanings of skopeo's.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::copy::{DestinationSide, ImageArguments, SourceArguments, TransferArguments};

/// The options of `sync`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SyncArguments {
    /// Read from this kind of source
    #[arg(long, short, value_name = "KIND")]
    pub(crate) src: SyncFrom,
    /// Write to this kind of destination
    #[arg(long, short, value_name = "KIND")]
    pub(crate) dest: SyncTo,
    /// Name the copies by the whole name of the source, with its registry, instead of its last component
    #[arg(long)]
    pub(crate) scoped: bool,
    /// Append this text to the names of the copies
    #[arg(long, value_name = "SUFFIX", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub(crate) append_suffix: String,
    /// Write the digests and names of the copies to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,
    /// Continue with the other images if one cannot be copied; the exit code still reports the failure
    #[arg(long)]
    pub(crate) keep_going: bool,
    #[command(flatten)]
    pub(crate) images: ImageArguments,
    #[command(flatten)]
    pub(crate) transfer: TransferArguments,
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    #[command(flatten)]
    pub(crate) destination: DestinationSide,
}

/// `--src`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SyncFrom {
    /// A repository, or one image of it
    Docker,
    /// A directory with dir: directories
    Dir,
    /// An OCI layout
    Oci,
    /// A YAML file with registries, repositories and tags
    Yaml,
}

/// `--dest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SyncTo {
    /// A registry, or a prefix of its repositories
    Docker,
    /// A directory, for one dir: directory for each image
    Dir,
    /// An OCI layout
    Oci,
}
