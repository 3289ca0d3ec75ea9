//! Users, passwords and tokens, and where they come from.

mod auth_file;
mod files;
mod helper;

use std::fmt;
use std::sync::Arc;

pub use files::AuthFiles;

use crate::Result;

/// What proves to a registry, or to its token server, who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token, which a token server exchanges for tokens (`docker login` with an identity token).
    IdentityToken(String),
    /// A token that the registry itself takes.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    /// The kind only: the rest is secret.
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
    /// The credential for a repository, `None` to go on without or with the next source.
    ///
    /// `domain` is the registry as references have it (`docker.io`, `localhost:5000`), `repository` the path in it
    /// (`library/alpine`). It is asked once for each repository, when a registry asks for credentials.
    ///
    /// # Errors
    /// [`Error::AuthFile`](crate::Error::AuthFile), [`Error::Helper`](crate::Error::Helper).
    fn get(&self, domain: &str, repository: &str) -> Result<Option<Credential>>;
}

/// One credential for every registry, such as the one of a command line.
#[derive(Clone, Debug)]
pub struct Explicit(
    /// The credential.
    pub Credential,
);

impl Credentials for Explicit {
    fn get(&self, _domain: &str, _repository: &str) -> Result<Option<Credential>> {
        Ok(Some(self.0.clone()))
    }
}

/// Several sources, of which the first that has a credential wins; without any, everything is anonymous.
#[derive(Clone, Default)]
pub struct Chain(
    /// The sources, the most important one first.
    pub Vec<Arc<dyn Credentials>>,
);

impl Credentials for Chain {
    fn get(&self, domain: &str, repository: &str) -> Result<Option<Credential>> {
        for source in &self.0 {
            if let Some(credential) = source.get(domain, repository)? {
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
