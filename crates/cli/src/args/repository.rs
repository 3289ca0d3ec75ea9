//! The commands that work on registries, without the cache.

use std::path::PathBuf;

use clap::Args;

use super::skopeo::RetryArguments;

/// A repository of a registry.
#[derive(Debug, Clone, Args)]
pub(crate) struct RepositoryArgument {
    /// Repository (quay.io/x/y), with or without docker://
    pub(crate) repository: String,
}

/// An image of a registry.
#[derive(Debug, Clone, Args)]
pub(crate) struct RemoteArgument {
    /// Reference (quay.io/x/y:1, quay.io/x/y@sha256:…), with or without docker://
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) retries: RetryArguments,
}

/// The image of `delete`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeleteArguments {
    /// Reference (quay.io/x/y:1, quay.io/x/y@sha256:…), with or without docker://, or oci:DIR:NAME
    pub(crate) image: String,
    /// The blobs of the OCI layout are in this directory, and stay there (oci:)
    #[arg(long, value_name = "DIR")]
    pub(crate) shared_blob_dir: Option<PathBuf>,
    /// Accepted for skopeo's command lines: `docker rmi` removes the images of a Docker engine
    #[arg(long, value_name = "HOST")]
    daemon_host: Option<String>,
    #[command(flatten)]
    pub(crate) retries: RetryArguments,
}
