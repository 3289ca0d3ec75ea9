//! Files with credentials: `auth.json` of containers-auth.json(5), `config.json` of Docker, `.dockercfg`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vmroot_errors::with_causes;

use super::auth_file::{self, AuthFile};
use super::helper;
use super::{Credential, Credentials};
use crate::{Cancel, Error, Result};

/// Credentials from files, the first file that has one winning.
///
/// Within a file, in this order: the helper that `credHelpers` names for the registry, the most specific entry of
/// `auths`, the helper that `credsStore` names. Files and helpers that are not there are passed over; a helper for the
/// registry that fails is an error, unless there are credentials elsewhere.
#[derive(Clone, Debug)]
pub struct AuthFiles {
    /// The files, the most important one first. One named `.dockercfg` has the oldest form, a map of `auths` alone.
    pub files: Vec<PathBuf>,
    /// Where helpers (`docker-credential-NAME`) are looked for; if empty, where the system looks for programs.
    pub helper_directories: Vec<PathBuf>,
    /// How long a helper may take.
    pub helper_timeout: Duration,
    /// Ends a helper early, and the search with [`Error::Cancelled`].
    pub cancel: Cancel,
}

impl AuthFiles {
    /// Reads these files; helpers are looked for where the system looks for programs, and have 30 seconds.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files, helper_directories: Vec::new(), helper_timeout: Duration::from_secs(30), cancel: Cancel::new() }
    }

    fn ask(&self, helper: &str, domain: &str) -> Result<Option<Credential>> {
        let Some(program) = helper::find(helper, &self.helper_directories)? else {
            helper::missing(helper);
            return Ok(None);
        };
        for server in auth_file::names(domain) {
            if let Some(credential) = helper::get(&program, server, self.helper_timeout, &self.cancel)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    fn search(&self, path: &Path, file: &AuthFile, domain: &str, repository: &str) -> Result<Found> {
        if let Some(helper) = file.helper(domain) {
            match self.ask(helper, domain) {
                Ok(Some(credential)) => return Ok(Found::Credential(credential)),
                Ok(None) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => return Ok(Found::Broken(error)),
            }
        }
        if let Some(credential) = file.entry(path, domain, repository)? {
            return Ok(Found::Credential(credential));
        }
        let Some(store) = file.store() else { return Ok(Found::Nothing) };
        match self.ask(store, domain) {
            Ok(Some(credential)) => Ok(Found::Credential(credential)),
            Ok(None) => Ok(Found::Nothing),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                // The store is for all registries, most of which it knows nothing of.
                tracing::warn!(error = with_causes(&error), file = %path.display(), "going on without this credential store");
                Ok(Found::Nothing)
            }
        }
    }
}

/// What a file says of a registry.
enum Found {
    Credential(Credential),
    Nothing,
    /// The helper meant for this very registry does not work.
    Broken(Error),
}

impl Credentials for AuthFiles {
    fn get(&self, domain: &str, repository: &str) -> Result<Option<Credential>> {
        let mut broken = None;
        for path in &self.files {
            let Some(file) = AuthFile::read(path)? else { continue };
            match self.search(path, &file, domain, repository)? {
                Found::Credential(credential) => return Ok(Some(credential)),
                Found::Nothing => {}
                Found::Broken(error) => {
                    tracing::warn!(error = with_causes(&error), file = %path.display(), "looking for other credentials");
                    broken.get_or_insert(error);
                }
            }
        }
        broken.map_or(Ok(None), Err)
    }
}
