//! Credential files, and the environment variable in place of one: `auth.json` (containers-auth.json(5)), Docker's `config.json`, and `.dockercfg`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmroot_errors::with_causes;

use super::auth_file::{self, AuthFile};
use super::helper::{self, Answer, CredentialHelper};
use super::{Credential, CredentialSource, Credentials, FoundCredential};
use crate::{Cancel, Error, Result};

/// A source that searches credential files and the credential helpers they name.
///
/// The first file with a credential decides. Within a file, the order is: the helper in `credHelpers` for the registry,
/// the most specific entry of `auths`, the helper in `credsStore`.
///
/// Missing files and helpers are skipped. A helper in `credHelpers` that exists is in place of the rest of its file. If the helper in `credHelpers` fails, the search continues, and its error is
/// returned only if no other file has a credential. If the helper in `credsStore` fails, a warning is logged.
#[derive(Clone, Debug)]
pub struct AuthFiles {
    /// The files, the one with the highest precedence first.
    pub files: Vec<AuthPlace>,
    /// The directories to search for helpers (`docker-credential-NAME`). If empty, `PATH` is searched.
    pub helper_directories: Vec<PathBuf>,
    /// The maximum run time of a helper. A cancelled search kills it earlier.
    pub helper_timeout: Duration,
}

/// A file, or a text in the form of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthPlace {
    /// A file. One named `.dockercfg` has Docker's oldest form, a map of `auths` alone.
    File(PathBuf),
    /// The value of an environment variable.
    Variable(AuthVariable),
}

/// The value of an environment variable such as `DOCKER_AUTH_CONFIG`. As in docker, only its `auths` are used, and a
/// malformed value is skipped with a warning.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthVariable {
    /// The name of the variable.
    pub name: String,
    /// The JSON in it. It is secret.
    pub text: String,
}

impl fmt::Debug for AuthVariable {
    /// Omits the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthVariable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AuthVariable {
    fn find(&self, domain: &str, repository: &str) -> Option<FoundCredential> {
        // Messages about files begin with the path, and so with the name of the variable.
        let path = Path::new(&self.name);
        let text = self.text.trim();
        if text.is_empty() {
            return None;
        }
        let entry = AuthFile::parse(path, text.as_bytes()).and_then(|file| file.entry(path, domain, repository));
        match entry {
            Ok(entry) => entry.map(|entry| {
                let source = CredentialSource::Variable { name: self.name.clone(), key: entry.key };
                FoundCredential { credential: entry.credential, user: entry.user, source }
            }),
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "continuing without this environment variable");
                None
            }
        }
    }
}

impl AuthFiles {
    /// Creates a source from these files. Helpers are searched in `PATH` and have 30 seconds.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let files = files.into_iter().map(AuthPlace::File).collect();
        Self { files, helper_directories: Vec::new(), helper_timeout: Duration::from_secs(30) }
    }

    /// Searches the files like [`Credentials::get`], and returns the source too. An empty repository stands for the
    /// registry itself.
    ///
    /// # Errors
    /// As [`Credentials::get`].
    pub fn find(&self, domain: &str, repository: &str, cancel: &Cancel) -> Result<Option<FoundCredential>> {
        let mut helper_error = None;
        for place in &self.files {
            let path = match place {
                AuthPlace::File(path) => path,
                AuthPlace::Variable(variable) => match variable.find(domain, repository) {
                    Some(found) => return Ok(Some(found)),
                    None => continue,
                },
            };
            let Some(file) = AuthFile::read(path)? else { continue };
            match self.search(path, &file, domain, repository, cancel)? {
                SearchOutcome::Found(found) => return Ok(Some(found)),
                SearchOutcome::NotFound => {}
                SearchOutcome::HelperFailed(error) => {
                    tracing::warn!(error = with_causes(&error), file = %path.display(), "searching for other credentials");
                    helper_error.get_or_insert(error);
                }
            }
        }
        helper_error.map_or(Ok(None), Err)
    }

    fn run_helper(&self, name: &str, domain: &str, path: &Path, cancel: &Cancel) -> Result<HelperOutcome> {
        let Some(helper) = CredentialHelper::find(name, &self.helper_directories, self.helper_timeout)? else {
            helper::warn_missing(name);
            return Ok(HelperOutcome::Missing);
        };
        for server in auth_file::names(domain) {
            match helper.ask(server, cancel)? {
                Answer::Credential(credential) => {
                    let program = format!("docker-credential-{name}");
                    let source = CredentialSource::Helper { program, file: Some(path.to_owned()) };
                    return Ok(HelperOutcome::Found(FoundCredential::new(credential, source)));
                }
                Answer::None => {}
                Answer::Missing => {
                    helper::warn_missing(name);
                    return Ok(HelperOutcome::Missing);
                }
            }
        }
        Ok(HelperOutcome::NotFound)
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
            match self.run_helper(helper, domain, path, cancel) {
                Ok(HelperOutcome::Found(found)) => return Ok(SearchOutcome::Found(found)),
                // The helper is in place of the rest of the file.
                Ok(HelperOutcome::NotFound) => return Ok(SearchOutcome::NotFound),
                Ok(HelperOutcome::Missing) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => return Ok(SearchOutcome::HelperFailed(error)),
            }
        }
        if let Some(entry) = file.entry(path, domain, repository)? {
            let source = CredentialSource::File { path: path.to_owned(), key: entry.key };
            let found = FoundCredential { credential: entry.credential, user: entry.user, source };
            return Ok(SearchOutcome::Found(found));
        }
        let Some(store) = file.store() else { return Ok(SearchOutcome::NotFound) };
        match self.run_helper(store, domain, path, cancel) {
            Ok(HelperOutcome::Found(found)) => Ok(SearchOutcome::Found(found)),
            Ok(_) => Ok(SearchOutcome::NotFound),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                // The store is consulted for every registry, and most registries need no credentials.
                tracing::warn!(error = with_causes(&error), file = %path.display(), "continuing without this credential store");
                Ok(SearchOutcome::NotFound)
            }
        }
    }
}

/// The result of asking a helper.
enum HelperOutcome {
    Found(FoundCredential),
    NotFound,
    Missing,
}

/// The result of searching one file.
enum SearchOutcome {
    Found(FoundCredential),
    NotFound,
    /// The helper that `credHelpers` names for the registry failed.
    HelperFailed(Error),
}

impl Credentials for AuthFiles {
    fn get(&self, domain: &str, repository: &str, cancel: &Cancel) -> Result<Option<Credential>> {
        let found = self.find(domain, repository, cancel)?;
        found.iter().for_each(|found| found.log_use(domain));
        Ok(found.map(|found| found.credential))
    }
}
