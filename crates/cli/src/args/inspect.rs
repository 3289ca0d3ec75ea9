//! The options of `inspect`, which have the names and meanings of skopeo's.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::skopeo::RetryArguments;

/// The options of `inspect`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InspectArguments {
    /// Ask the registry even if the image is in the cache
    #[arg(long)]
    pub(crate) remote: bool,
    /// Print the bytes of the manifest or index, or with --config those of the config
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print the config in OCI's form
    #[arg(long)]
    pub(crate) config: bool,
    /// Print the result of this Go template, such as '{{.Digest}}'; `json` prints JSON
    #[arg(long, short, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,
    /// Do not list the tags of the repository
    #[arg(long, short)]
    pub(crate) no_tags: bool,
    /// Compute the manifest's digest with this algorithm [default: that of the config's digest]
    #[arg(long, value_name = "ALGORITHM")]
    pub(crate) manifest_digest: Option<DigestAlgorithm>,
    /// Use the Docker engine at this address (docker-daemon:)
    #[arg(long, value_name = "HOST")]
    pub(crate) daemon_host: Option<String>,
    /// Read the blobs of an OCI layout from this directory (oci:)
    #[arg(long, value_name = "DIR")]
    pub(crate) shared_blob_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) retries: RetryArguments,
}

/// `--manifest-digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DigestAlgorithm {
    /// SHA-256
    Sha256,
    /// SHA-512
    Sha512,
}

impl InspectArguments {
    /// Returns whether an option asks for skopeo's output.
    pub(crate) fn is_of_skopeo(&self) -> bool {
        self.raw
            || self.config
            || self.format.is_some()
            || self.no_tags
            || self.manifest_digest.is_some()
            || self.daemon_host.is_some()
            || self.shared_blob_dir.is_some()
    }
}
