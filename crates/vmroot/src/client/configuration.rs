//! The configuration that users have for registries, in the work of a client.

use std::fmt;
use std::sync::Arc;

use vmroot_config_files::{Configuration, Endpoint, NameOrigin, is_short};
use vmroot_model::Reference;
use vmroot_registry::{Credentials, SignaturePlaces};
use vmroot_transport::{RegistryPlace, RegistrySource};

use super::Client;
use crate::{RegistryOptions, Result};

/// The configuration that the user has for registries.
#[derive(Clone)]
pub struct RegistryConfiguration {
    /// registries.conf, certificates and credential files.
    pub files: Arc<Configuration>,
    /// The credentials for mirrors, and for locations in registries.conf, on other hosts than the reference's.
    /// [`RegistryOptions::credentials`] are not sent to these, because they may be for the named registry alone.
    pub mirror_credentials: Arc<dyn Credentials>,
}

impl RegistryConfiguration {
    /// Uses the credential files of the configuration for mirrors.
    pub fn new(files: Arc<Configuration>) -> Self {
        Self { mirror_credentials: Arc::clone(&files) as Arc<dyn Credentials>, files }
    }
}

impl fmt::Debug for RegistryConfiguration {
    /// Omits the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfiguration").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The clients for registries, and the configuration that decides between them.
#[derive(Debug, Clone)]
pub(super) struct Registries {
    /// For the registries that references name.
    pub(super) named: vmroot_registry::Client,
    /// For mirrors and other locations on other hosts.
    mirrors: vmroot_registry::Client,
    pub(super) configuration: Option<RegistryConfiguration>,
}

impl Registries {
    pub(super) fn new(options: RegistryOptions, configuration: Option<RegistryConfiguration>) -> Result<Self> {
        let Some(configuration) = configuration else {
            let named = vmroot_registry::Client::new(options)?;
            return Ok(Self { mirrors: named.clone(), named, configuration: None });
        };
        let options = RegistryOptions { hosts: Arc::clone(&configuration.files) as _, ..options };
        let credentials = Arc::clone(&configuration.mirror_credentials);
        let for_mirrors = RegistryOptions { credentials, ..options.clone() };
        Ok(Self {
            named: vmroot_registry::Client::new(options)?,
            mirrors: vmroot_registry::Client::new(for_mirrors)?,
            configuration: Some(configuration),
        })
    }

    fn files(&self) -> Option<&Arc<Configuration>> {
        self.configuration.as_ref().map(|configuration| &configuration.files)
    }

    pub(super) fn with_cancel(&self, cancel: &crate::Cancel) -> Self {
        Self {
            named: self.named.with_cancel(cancel.clone()),
            mirrors: self.mirrors.with_cancel(cancel.clone()),
            configuration: self.configuration.clone(),
        }
    }

    /// Returns the places of signatures, if there is a configuration.
    pub(super) fn signature_places(&self) -> Option<Arc<dyn SignaturePlaces>> {
        self.files().map(|files| Arc::clone(files) as _)
    }

    /// Returns the references that a name without a transport may stand for.
    ///
    /// # Errors
    /// The name is malformed, or the configuration cannot be read or requires a choice.
    pub(super) fn candidates(&self, name: &str) -> Result<Vec<Reference>> {
        match self.files() {
            Some(files) if is_short(name) => {
                let mode = files.registries()?.short_name_mode();
                Ok(files.resolve_name(name)?.without_choice(mode)?)
            }
            _ => Ok(vec![Reference::parse(name)?]),
        }
    }

    /// Returns the references that a short name stands for by the configuration, without Docker's meaning.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub(super) fn configured_names(&self, name: &str) -> Result<Vec<Reference>> {
        let Some(files) = self.files().filter(|_| is_short(name)) else { return Ok(Vec::new()) };
        let resolved = files.resolve_name(name)?;
        Ok(if resolved.origin == NameOrigin::DockerHub { Vec::new() } else { resolved.candidates })
    }

    /// Returns the source of the image of a reference: its mirrors and its location.
    ///
    /// # Errors
    /// The configuration cannot be read, or makes no valid reference.
    pub(super) fn source(&self, reference: &Reference) -> Result<RegistrySource> {
        let Some(files) = self.files() else {
            return Ok(RegistrySource::new(self.named.clone(), reference.clone()));
        };
        let resolution = files.resolve(reference)?;
        let place = |endpoint: Endpoint| {
            let at = endpoint.reference?;
            if let Some(file) = endpoint.blocked {
                return Some(RegistryPlace::Blocked { reference: at, file });
            }
            let client = if at.domain() == reference.domain() { &self.named } else { &self.mirrors };
            let (client, signatures) = (client.with_insecure(endpoint.insecure), Some(Arc::clone(files) as _));
            Some(RegistryPlace::Repository { client, reference: at, signatures })
        };
        let places = resolution.endpoints.into_iter().filter_map(place).collect();
        Ok(RegistrySource::at_places(reference.clone(), places))
    }
}

impl Client {
    /// Returns the configuration that the user has for registries, if [`ClientOptions::configuration`] names one.
    ///
    /// [`ClientOptions::configuration`]: crate::ClientOptions::configuration
    pub fn configuration(&self) -> Option<&Arc<Configuration>> {
        self.registries.files()
    }
}
