//! Credentials and their sources.

mod auth_file;
mod editor;
mod files;
mod found;
mod helper;
mod json_text;

use std::fmt;
use std::sync::Arc;

pub use editor::AuthFileEditor;
pub use files::{AuthFiles, AuthPlace, AuthVariable};
pub use found::{CredentialSource, FoundCredential};
pub use helper::CredentialHelper;

use crate::{Cancel, Result};

/// A credential for a registry or its token server. Its debug form contains no secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token, which the token server exchanges for access tokens. `docker login` stores one as
    /// `identitytoken`.
    IdentityToken(String),
    /// An access token, which is sent to the registry as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    /// Writes the name of the variant only, because its fields are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// A source of credentials.
pub trait Credentials: Send + Sync {
    /// Returns the credential for a repository. `None` means that the next source is tried, or that access is
    /// anonymous.
    ///
    /// `domain` is the registry as in references (`docker.io`, `localhost:5000`). `repository` is the path in it
    /// (`library/alpine`). The client calls this when a registry first requires credentials for a repository, and again
    /// when it refuses them. A search that takes time ends early once `cancel` is set.
    ///
    /// # Errors
    /// - [`Error::AuthFile`](crate::Error::AuthFile): a file cannot be read or parsed.
    /// - [`Error::Helper`](crate::Error::Helper): a credential helper failed.
    /// - [`Error::Cancelled`](crate::Error::Cancelled): the search was cancelled.
    fn get(&self, domain: &str, repository: &str, cancel: &Cancel) -> Result<Option<Credential>>;
}

/// A source with one credential for all registries, for example from the command line.
#[derive(Clone, Debug)]
pub struct FixedCredential(
    /// The credential.
    pub Credential,
);

impl Credentials for FixedCredential {
    fn get(&self, _domain: &str, _repository: &str, _cancel: &Cancel) -> Result<Option<Credential>> {
        Ok(Some(self.0.clone()))
    }
}

/// Several sources in order of precedence. The first one that has a credential decides. An empty chain means anonymous
/// access.
#[derive(Clone, Default)]
pub struct CredentialChain(
    /// The sources, the one with the highest precedence first.
    pub Vec<Arc<dyn Credentials>>,
);

impl fmt::Debug for CredentialChain {
    /// Prints the number of sources, which need not implement [`fmt::Debug`] and have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialChain").field("sources", &self.0.len()).finish()
    }
}

impl Credentials for CredentialChain {
    fn get(&self, domain: &str, repository: &str, cancel: &Cancel) -> Result<Option<Credential>> {
        for source in &self.0 {
            if let Some(credential) = source.get(domain, repository, cancel)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Reads a file as one of credentials, and looks for those of a repository, for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn fuzz_auth_file(path: &std::path::Path) {
    if let Ok(Some(file)) = auth_file::AuthFile::read(path) {
        let _ = (file.helper("registry.example"), file.store());
        let _ = file.entry(path, "registry.example", "a/b");
    }
}
