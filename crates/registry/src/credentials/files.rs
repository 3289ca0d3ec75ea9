//! Credential files: `auth.json` (containers-auth.json(5)), Docker's `config.json`, and `.dockercfg`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vmroot_errors::with_causes;

use super::auth_file::{self, AuthFile};
use super::helper;
use super::{Credential, Credentials};
use crate::{Cancel, Error, Result};

/// A source that searches credential files and the credential helpers they name.
///
/// The first file with a credential decides. Within a file, the order is: the helper in `credHelpers` for the registry,
/// the most specific entry of `auths`, the helper in `credsStore`.
///
/// Missing files and helpers are skipped. If the helper in `credHelpers` fails, the search continues, and its error is
/// returned only if no other file has a credential. If the helper in `credsStore` fails, a warning is logged.
#[derive(Clone, Debug)]
pub struct AuthFiles {
    /// The files, the one with the highest precedence first. A file named `.dockercfg` has Docker's oldest form, a map
    /// of `auths` alone.
    pub files: Vec<PathBuf>,
    /// The directories to search for helpers (`docker-credential-NAME`). If empty, `PATH` is searched.
    pub helper_directories: Vec<PathBuf>,
    /// The maximum run time of a helper. A cancelled search kills it earlier.
    pub helper_timeout: Duration,
}

impl AuthFiles {
    /// Creates a source from these files. Helpers are searched in `PATH` and have 30 seconds.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files, helper_directories: Vec::new(), helper_timeout: Duration::from_secs(30) }
    }

    fn run_helper(&self, helper: &str, domain: &str, cancel: &Cancel) -> Result<Option<Credential>> {
        let Some(program) = helper::find(helper, &self.helper_directories)? else {
            helper::warn_missing(helper);
            return Ok(None);
        };
        for server in auth_file::names(domain) {
            if let Some(credential) = helper::get(&program, server, self.helper_timeout, cancel)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    fn search(
        &self,
        path: &Path,
        file: &AuthFile,
        domain: &str,
        repository: &str,
        cancel: &Cancel,
    ) -> Result<SearchOutcome> {
        if let Some(helper) = file.helper(domain) {
            match self.run_helper(helper, domain, cancel) {
                Ok(Some(credential)) => return Ok(SearchOutcome::Credential(credential)),
                Ok(None) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => return Ok(SearchOutcome::HelperFailed(error)),
            }
        }
        if let Some(credential) = file.entry(path, domain, repository)? {
            return Ok(SearchOutcome::Credential(credential));
        }
        let Some(store) = file.store() else { return Ok(SearchOutcome::NotFound) };
        match self.run_helper(store, domain, cancel) {
            Ok(Some(credential)) => Ok(SearchOutcome::Credential(credential)),
            Ok(None) => Ok(SearchOutcome::NotFound),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                // The store is consulted for every registry, and most registries need no credentials.
                tracing::warn!(error = with_causes(&error), file = %path.display(), "continuing without this credential store");
                Ok(SearchOutcome::NotFound)
            }
        }
    }
}

/// The result of searching one file.
enum SearchOutcome {
    Credential(Credential),
    NotFound,
    /// The helper that `credHelpers` names for the registry failed.
    HelperFailed(Error),
}

impl Credentials for AuthFiles {
    fn get(&self, domain: &str, repository: &str, cancel: &Cancel) -> Result<Option<Credential>> {
        let mut helper_error = None;
        for path in &self.files {
            let Some(file) = AuthFile::read(path)? else { continue };
            match self.search(path, &file, domain, repository, cancel)? {
                SearchOutcome::Credential(credential) => return Ok(Some(credential)),
                SearchOutcome::NotFound => {}
                SearchOutcome::HelperFailed(error) => {
                    tracing::warn!(error = with_causes(&error), file = %path.display(), "searching for other credentials");
                    helper_error.get_or_insert(error);
                }
            }
        }
        helper_error.map_or(Ok(None), Err)
    }
}
