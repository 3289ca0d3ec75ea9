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

    /// Logs that the credential is used for a registry, without its secret.
    pub fn log_use(&self, domain: &str) {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!(" of {user}"));
        tracing::info!("{domain}: credentials{user} from {}", self.source);
    }
}

/// The source of a credential. Its text form names the file, the variable or the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// An entry of a credential file.
    File {
        /// The file.
        path: PathBuf,
        /// The key of the entry, such as `quay.io/team`.
        key: String,
    },
    /// An entry in an environment variable, which has the JSON of a credential file.
    Variable {
        /// The name of the variable.
        name: String,
        /// The key of the entry.
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
            Self::Variable { name, .. } => f.write_str(name),
            Self::Helper { program, .. } => f.write_str(program),
        }
    }
}
