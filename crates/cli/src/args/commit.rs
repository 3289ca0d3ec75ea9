//! The options of `commit`, which have the names and meanings of Docker's where Docker has them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The options of `commit`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CommitArguments {
    /// Add the changes in this upper directory of an overlay, as of `mount --upper`, or on this ext4 disk of a guest, as
    /// the layer
    #[arg(long, value_name = "DIR|DISK", conflicts_with = "layer")]
    pub(crate) from_upper: Option<PathBuf>,
    /// Read the marks of --from-upper from user.overlay.* xattrs, for an overlay that was mounted with userxattr
    #[arg(long, requires = "from_upper")]
    pub(crate) userxattr: bool,
    /// Give the image this name (repeatable) [default: none, only its id]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// Change the config by an instruction of a Dockerfile (repeatable): CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK,
    /// LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(long, short, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// Record this author
    #[arg(long, short, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) author: String,
    /// Record this comment in the image's history
    #[arg(long, short, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) message: String,
    /// Record this command in the image's history
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) created_by: String,
    /// Record this time, in seconds since 1970, so that equal commits give equal images [default: now]
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    pub(crate) timestamp: Option<u64>,
    /// Compress the layer so [default: keep gzip and zstd as they are, gzip for all others]
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub(crate) compression: Option<LayerCompression>,
}

/// The compression of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerCompression {
    /// gzip, which everything reads
    Gzip,
    /// zstd, smaller and faster; makes the manifest an OCI one
    Zstd,
    /// No compression
    None,
}
