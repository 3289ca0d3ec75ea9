//! Credentials together with the place they come from.

use std::fmt;
use std::path::PathBuf;

use super::Credential;

/// A credential and its source. The debug form contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCredential {
    /// The credential.
    pub credential: Credential,
    /// The user. A token has one if its file names it.
    pub user: Option<String>,
    /// The file or the helper that it comes from.
    pub source: CredentialSource,
}

impl FoundCredential {
    /// Creates a credential with its own user.
    pub fn new(credential: Credential, source: CredentialSource) -> Self {
        let user = match &credential {
            Credential::Password { user, .. } => Some(user.clone()),
            Credential::IdentityToken(_) | Credential::RegistryToken(_) => None,
        };
        Self { credential, user, source }
    }
}

/// The source of a credential. Its text form names the file or the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// An entry of a credential file.
    File {
        /// The file.
        path: PathBuf,
        /// The key of the entry, such as `quay.io/team`.
        key: String,
    },
    /// A credential helper.
    Helper {
        /// The name of the program, `docker-credential-NAME`.
        program: String,
        /// The credential file that names the helper. `None` if registries.conf does.
        file: Option<PathBuf>,
    },
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => path.display().fmt(f),
            Self::Helper { program, .. } => f.write_str(program),
        }
    }
}
