//! The options of `inspect`, which have the names and meanings of skopeo's.

use clap::{Args, ValueEnum};

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
        self.raw || self.config || self.format.is_some() || self.no_tags || self.manifest_digest.is_some()
    }
}
