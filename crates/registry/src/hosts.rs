//! Settings of single registries: trusted certificates, client certificates, and whether to verify at all.

use std::path::PathBuf;

use crate::Result;

/// Settings for connections to one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostOptions {
    /// Whether any certificate is accepted, and plain HTTP is used if the registry does not answer over TLS.
    pub insecure: bool,
    /// Whether plain HTTP is never used, not even for a registry on loopback. [`Self::insecure`] takes precedence.
    pub require_tls: bool,
    /// PEM files with certificates to trust besides the system's and those of
    /// [`ClientOptions::ca_files`](crate::ClientOptions::ca_files).
    pub ca_files: Vec<PathBuf>,
    /// The client certificates to present, each with its private key, as PEM files. A certificate file may contain its
    /// chain. The registry's list of authorities decides between several.
    pub identities: Vec<(PathBuf, PathBuf)>,
}

/// A source of settings for registries.
pub trait HostSettings: Send + Sync {
    /// Returns the settings for a repository.
    ///
    /// `domain` is the registry as in references (`docker.io`, `localhost:5000`). `repository` is the path in it
    /// (`library/alpine`), or empty for a request to the registry itself. The client calls this for every request, so
    /// an implementation that reads files caches its results.
    ///
    /// # Errors
    /// [`Error::HostSettings`](crate::Error::HostSettings): the settings cannot be read, or forbid all access.
    fn get(&self, domain: &str, repository: &str) -> Result<HostOptions>;
}

/// The same settings for all registries.
#[derive(Clone, Debug, Default)]
pub struct FixedHostSettings(
    /// The settings.
    pub HostOptions,
);

impl HostSettings for FixedHostSettings {
    fn get(&self, _domain: &str, _repository: &str) -> Result<HostOptions> {
        Ok(self.0.clone())
    }
}
