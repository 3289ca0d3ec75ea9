//! Logging in and out: changes to credential files and helpers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use vmroot_registry::{AuthFileEditor, Cancel, CredentialHelper};

use crate::registries::AUTH_FILES;
use crate::{Configuration, Error, Result};

/// The key of Docker Hub in Docker's own file.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The maximum time of one run of a helper. It may ask the user to unlock a keyring.
const HELPER_TIMEOUT: Duration = Duration::from_secs(120);

/// The place where a credential was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredIn {
    /// A credential file.
    File(PathBuf),
    /// The credential helper `docker-credential-NAME`.
    Helper(String),
}

impl fmt::Display for StoredIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Helper(name) => write!(f, "docker-credential-{name}"),
        }
    }
}

/// Checks a key for credentials: `HOST[:PORT]`, or a namespace or repository below it. Returns whether it has one.
///
/// # Errors
/// [`Error::Key`] if the key has a scheme, a tag or a digest, or no host.
pub fn check_key(key: &str) -> Result<bool> {
    let wrong = |reason: &str| Err(Error::Key { key: key.to_owned(), reason: reason.to_owned() });
    let (host, path) = key.split_once('/').map_or((key, None), |(host, path)| (host, Some(path)));
    match () {
        () if key.starts_with("http://") || key.starts_with("https://") => wrong("it has a scheme"),
        () if key.contains('@') => wrong("it has a digest or a user"),
        () if path.is_some_and(|path| path.contains(':')) => wrong("it has a tag"),
        () if host.is_empty() => wrong("it has no host"),
        () => Ok(path.is_some()),
    }
}

impl Configuration {
    /// Stores a user and a password for a registry, namespace or repository. Nothing is sent to the registry.
    ///
    /// The first of registries.conf's `credential-helpers` that accepts it decides; credential files are one of them. In
    /// a file, a helper in `credHelpers` is used in its place. A file of Docker's
    /// ([`Locations::compat_auth_file`](crate::Locations::compat_auth_file)) gets the keys that Docker uses, and its
    /// `credsStore` is used as well.
    ///
    /// # Errors
    /// - [`Error::Key`]: the key is not a registry or repository, or is a repository that the helper or the file cannot
    ///   have.
    /// - [`Error::Credentials`]: a file cannot be changed, or a helper failed.
    pub fn store_credential(&self, key: &str, user: &str, password: &str, cancel: &Cancel) -> Result<StoredIn> {
        let target = self.target(key)?;
        let mut first_error = None;
        for helper in &target.helpers {
            let stored = match helper.as_str() {
                AUTH_FILES => self.store_in_file(&target, user, password, cancel),
                helper => self.store_in_helper(helper, &target, user, password, cancel),
            };
            match stored {
                Ok(stored) => return Ok(stored),
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::Options("registries.conf has no credential helper".to_owned())))
    }

    /// Removes the credential of a registry, namespace or repository from all helpers and from the credential file.
    ///
    /// # Errors
    /// - [`Error::NotLoggedIn`]: none of them has it.
    /// - The errors of [`Self::store_credential`].
    pub fn erase_credential(&self, key: &str, cancel: &Cancel) -> Result<()> {
        let target = self.target(key)?;
        let mut found = false;
        for helper in &target.helpers {
            found |= match helper.as_str() {
                AUTH_FILES => self.erase_from_file(&target, cancel)?,
                // A helper has no namespaces.
                _ if target.is_namespaced => false,
                helper => self.helper(helper)?.map_or(Ok(false), |helper| helper.erase(&target.key, cancel))?,
            };
        }
        if found { Ok(()) } else { Err(Error::NotLoggedIn { key: key.to_owned() }) }
    }

    /// Removes all credentials from the helpers and from the credential file.
    ///
    /// # Errors
    /// [`Error::Credentials`]: a file cannot be changed, or a helper failed.
    pub fn erase_all_credentials(&self, cancel: &Cancel) -> Result<()> {
        let file = self.locations().written_auth_file()?;
        for helper in self.helpers_to_edit(file.is_dockers)? {
            if helper != AUTH_FILES {
                let Some(helper) = self.helper(&helper)? else { continue };
                for server in helper.list(cancel)? {
                    helper.erase(&server, cancel)?;
                }
                continue;
            }
            let mut editor = AuthFileEditor::open(&file.path)?;
            for (registry, helper) in editor.helpers() {
                if let Some(helper) = self.helper(&helper)? {
                    helper.erase(&registry, cancel)?;
                }
            }
            editor.clear()?;
            editor.save()?;
        }
        Ok(())
    }

    fn target(&self, key: &str) -> Result<Target> {
        let is_namespaced = check_key(key)?;
        let file = self.locations().written_auth_file()?;
        if file.is_dockers && is_namespaced {
            let reason = format!("Docker's file {} has credentials of whole registries only", file.path.display());
            return Err(Error::Key { key: key.to_owned(), reason });
        }
        let key = if file.is_dockers && key == "docker.io" { DOCKER_HUB_KEY } else { key };
        Ok(Target {
            key: key.to_owned(),
            is_namespaced,
            helpers: self.helpers_to_edit(file.is_dockers)?,
            file: file.path,
            is_dockers: file.is_dockers,
        })
    }

    /// Docker does not read registries.conf.
    fn helpers_to_edit(&self, is_dockers: bool) -> Result<Vec<String>> {
        if is_dockers {
            return Ok(vec![AUTH_FILES.to_owned()]);
        }
        Ok(self.registries()?.credential_helpers().to_vec())
    }

    fn helper(&self, name: &str) -> Result<Option<CredentialHelper>> {
        Ok(CredentialHelper::find(name, &self.locations().helper_directories, HELPER_TIMEOUT)?)
    }

    fn store_in_helper(
        &self,
        name: &str,
        target: &Target,
        user: &str,
        password: &str,
        cancel: &Cancel,
    ) -> Result<StoredIn> {
        if target.is_namespaced {
            let reason = format!("docker-credential-{name} has credentials of whole registries only");
            return Err(Error::Key { key: target.key.clone(), reason });
        }
        let Some(helper) = self.helper(name)? else {
            return Err(Error::Options(format!("the credential helper docker-credential-{name} does not exist")));
        };
        helper.store(&target.key, user, password, cancel)?;
        Ok(StoredIn::Helper(name.to_owned()))
    }

    fn store_in_file(&self, target: &Target, user: &str, password: &str, cancel: &Cancel) -> Result<StoredIn> {
        let mut editor = AuthFileEditor::open(&target.file)?;
        if let Some(helper) = editor.helper(&target.key).map(str::to_owned) {
            return self.store_in_helper(&helper, target, user, password, cancel);
        }
        if let Some(store) = editor.store().filter(|_| target.is_dockers).map(str::to_owned) {
            let stored = self.store_in_helper(&store, target, user, password, cancel)?;
            editor.set_marker(&target.key)?;
            editor.save()?;
            return Ok(stored);
        }
        editor.set(&target.key, user, password)?;
        let path = editor.path().to_owned();
        editor.save()?;
        Ok(StoredIn::File(path))
    }

    fn erase_from_file(&self, target: &Target, cancel: &Cancel) -> Result<bool> {
        let mut editor = AuthFileEditor::open(&target.file)?;
        let store = editor.store().filter(|_| target.is_dockers);
        let helper = editor.helper(&target.key).or(store).filter(|_| !target.is_namespaced).map(str::to_owned);
        let mut found = false;
        if let Some(helper) = helper.map(|name| self.helper(&name)).transpose()?.flatten() {
            found = helper.erase(&target.key, cancel)?;
        }
        if editor.remove(&target.key)? {
            found = true;
            editor.save()?;
        }
        Ok(found)
    }
}

/// The key of a credential, and the places for it.
struct Target {
    key: String,
    is_namespaced: bool,
    helpers: Vec<String>,
    file: PathBuf,
    is_dockers: bool,
}
