//! The user's configuration as a whole, read when it is first needed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use vmroot_errors::with_causes;
use vmroot_model::Reference;
use vmroot_registry::{
    AuthFiles, Cancel, Credential, CredentialHelper, CredentialSource, Credentials, FoundCredential, HostOptions,
    HostSettings, SignatureLocations, SignaturePlaces,
};

use crate::registries::AUTH_FILES;
use crate::{
    Aliases, Error, HostCertificates, Locations, Registries, Resolution, ResolvedName, Result, SignatureStorage,
    short_names,
};

/// The maximum time of one run of a credential helper.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The configuration that a user has for registries: registries.conf, certificates and credentials.
///
/// Each file is read when it is first needed, so a broken one is an error only then. registries.conf and certificates are
/// read once.
///
/// A client for registries uses it as [`ClientOptions::hosts`](vmroot_registry::ClientOptions::hosts) and as
/// [`ClientOptions::credentials`](vmroot_registry::ClientOptions::credentials).
///
/// ```
/// use vmroot_config_files::{Configuration, Locations};
/// use vmroot_model::Reference;
///
/// # let home = tempfile::tempdir().unwrap();
/// # let directory = home.path().join(".config/containers");
/// # std::fs::create_dir_all(&directory).unwrap();
/// # let conf = "[[registry]]\nprefix = 'docker.io'\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = 'mirror.test/hub'\n";
/// # std::fs::write(directory.join("registries.conf"), conf).unwrap();
/// let locations = Locations { home: Some(home.path().to_owned()), ..Locations::default() };
/// let configuration = Configuration::new(locations);
/// let resolution = configuration.resolve(&Reference::parse("alpine:3.20")?)?;
/// let mirror = resolution.endpoints[0].reference.as_ref().unwrap();
/// assert_eq!(mirror.to_string(), "mirror.test/hub/library/alpine:3.20");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Configuration {
    locations: Locations,
    tls_verify: Option<bool>,
    registries: OnceLock<Registries>,
    certificates: Mutex<HashMap<String, HostCertificates>>,
    signatures: OnceLock<SignatureStorage>,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Configuration");
        debug.field("locations", &self.locations).field("tls_verify", &self.tls_verify).finish_non_exhaustive()
    }
}

impl Configuration {
    /// Creates a configuration from the files at `locations`. Reads nothing yet.
    pub fn new(locations: Locations) -> Self {
        Self {
            locations,
            tls_verify: None,
            registries: OnceLock::new(),
            certificates: Mutex::default(),
            signatures: OnceLock::new(),
        }
    }

    /// Makes all registries insecure with `Some(false)`, and none with `Some(true)`, regardless of registries.conf.
    #[must_use]
    pub fn with_tls_verify(self, tls_verify: Option<bool>) -> Self {
        Self { tls_verify, ..self }
    }

    /// Returns the places of the files.
    pub fn locations(&self) -> &Locations {
        &self.locations
    }

    /// Returns registries.conf with its drop-ins.
    ///
    /// # Errors
    /// As [`Registries::load`].
    pub fn registries(&self) -> Result<&Registries> {
        if let Some(registries) = self.registries.get() {
            return Ok(registries);
        }
        let loaded = Registries::load(&self.locations)?;
        Ok(self.registries.get_or_init(|| loaded))
    }

    /// Returns the places of the signatures of images.
    ///
    /// # Errors
    /// As [`SignatureStorage::read`].
    pub fn signature_storage(&self) -> Result<&SignatureStorage> {
        if let Some(storage) = self.signatures.get() {
            return Ok(storage);
        }
        let read = SignatureStorage::read(&self.locations.registries_d())?;
        Ok(self.signatures.get_or_init(|| read))
    }

    /// Returns the file with the short names that the user chose, if there is a directory for it.
    pub fn aliases(&self) -> Option<Aliases> {
        self.locations.short_name_aliases().map(Aliases::new)
    }

    /// Returns the meanings of a name: an alias, the registries to search, or Docker Hub for a name without a registry.
    ///
    /// # Errors
    /// [`Error::Name`] if the name is malformed, or an error from reading a file.
    pub fn resolve_name(&self, name: &str) -> Result<ResolvedName> {
        short_names::resolve(name, self.registries()?, self.aliases().as_ref())
    }

    /// Returns the locations for a reference.
    ///
    /// # Errors
    /// As [`Registries::resolve`], or an error from reading a file.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolution> {
        let mut resolution = self.registries()?.resolve(reference)?;
        if let Some(tls_verify) = self.tls_verify {
            resolution.insecure = !tls_verify;
            resolution.endpoints.iter_mut().for_each(|endpoint| endpoint.insecure = !tls_verify);
        }
        Ok(resolution)
    }

    /// Returns the certificates for a registry, as it is in references.
    ///
    /// # Errors
    /// As [`HostCertificates::find`].
    pub fn certificates(&self, domain: &str) -> Result<HostCertificates> {
        let mut cached = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificates) = cached.get(domain) {
            return Ok(certificates.clone());
        }
        let certificates = HostCertificates::find(&self.locations, domain)?;
        Ok(cached.entry(domain.to_owned()).or_insert(certificates).clone())
    }

    /// Returns the credential for a repository with its source. An empty repository stands for the registry itself.
    ///
    /// The `credential-helpers` of registries.conf are asked in order. The errors of one are reported only if no other has
    /// a credential.
    ///
    /// # Errors
    /// [`Error::Credentials`] if a file is invalid or a helper fails, or an error from reading registries.conf.
    pub fn find_credential(&self, domain: &str, repository: &str, cancel: &Cancel) -> Result<Option<FoundCredential>> {
        let mut first_error = None;
        for helper in self.registries()?.credential_helpers() {
            let found = match helper.as_str() {
                AUTH_FILES => self.auth_files().find(domain, repository, cancel),
                helper => self.ask_helper(helper, domain, cancel),
            };
            match found {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error @ vmroot_registry::Error::Cancelled) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(error = with_causes(&error), helper, "searching for other credentials");
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(None), |error| Err(error.into()))
    }

    /// Returns the credential files as a source of credentials.
    fn auth_files(&self) -> AuthFiles {
        AuthFiles {
            files: self.locations.auth_files(),
            helper_directories: self.locations.helper_directories.clone(),
            helper_timeout: HELPER_TIMEOUT,
        }
    }

    fn ask_helper(
        &self,
        name: &str,
        domain: &str,
        cancel: &Cancel,
    ) -> vmroot_registry::Result<Option<FoundCredential>> {
        let helper = CredentialHelper::find(name, &self.locations.helper_directories, HELPER_TIMEOUT)?;
        let Some(helper) = helper else { return Ok(None) };
        let source = CredentialSource::Helper { program: format!("docker-credential-{name}"), file: None };
        Ok(helper.get(domain, cancel)?.map(|credential| FoundCredential::new(credential, source)))
    }

    fn host_options(&self, domain: &str, repository: &str) -> Result<HostOptions> {
        let name = if repository.is_empty() { domain.to_owned() } else { format!("{domain}/{repository}") };
        let registry = self.registries()?.find(&name);
        if let Some(registry) = registry.filter(|registry| registry.blocked) {
            return Err(Error::invalid(&registry.file, format!("{:?} is blocked", registry.prefix)));
        }
        let certificates = self.certificates(domain)?;
        let insecure = registry.is_some_and(|registry| registry.insecure);
        Ok(HostOptions {
            insecure: self.tls_verify.map_or(insecure, |tls_verify| !tls_verify),
            require_tls: self.tls_verify == Some(true),
            ca_files: certificates.authorities,
            identities: certificates.identities,
        })
    }
}

impl HostSettings for Configuration {
    fn get(&self, domain: &str, repository: &str) -> vmroot_registry::Result<HostOptions> {
        self.host_options(domain, repository).map_err(|error| vmroot_registry::Error::HostSettings {
            registry: format!("{domain}/{repository}").trim_end_matches('/').to_owned(),
            reason: with_causes(&error),
        })
    }
}

impl SignaturePlaces for Configuration {
    fn signature_locations(&self, reference: &Reference) -> vmroot_registry::Result<SignatureLocations> {
        let storage = self.signature_storage().map_err(|error| vmroot_registry::Error::HostSettings {
            registry: reference.name(),
            reason: with_causes(&error),
        })?;
        Ok(storage.locations(reference, &self.locations.lookaside()))
    }
}

impl Credentials for Configuration {
    fn get(&self, domain: &str, repository: &str, cancel: &Cancel) -> vmroot_registry::Result<Option<Credential>> {
        let found = self.find_credential(domain, repository, cancel).map_err(|error| match error {
            Error::Credentials(error) => error,
            error => vmroot_registry::Error::HostSettings { registry: domain.to_owned(), reason: with_causes(&error) },
        })?;
        found.iter().for_each(|found| found.log_use(domain));
        Ok(found.map(|found| found.credential))
    }
}
