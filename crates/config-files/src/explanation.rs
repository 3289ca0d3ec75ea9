//! The settings of a name, and the files that they come from.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use vmroot_errors::with_causes;
use vmroot_model::Reference;
use vmroot_registry::{Cancel, Credential, CredentialSource, FoundCredential};

use crate::{Configuration, Endpoint, NameOrigin, Resolution, Result};

/// The settings that the configuration has for a name. It has no secrets. Its text form is for people.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The full reference that the name stands for; the first one if there are several.
    pub reference: Reference,
    /// The prefix of the `[[registry]]` entry, or `None` if no entry is for the reference.
    pub prefix: Option<String>,
    /// The location in place of the prefix.
    pub location: String,
    /// Whether the location may not be used.
    pub blocked: bool,
    /// Whether the location is reached without verification of its certificate, or over plain HTTP.
    pub insecure: bool,
    /// The mirrors, in order of precedence.
    pub mirrors: Vec<MirrorExplanation>,
    /// The certificates for the location.
    pub certificates: Option<CertificatesExplanation>,
    /// The credential for the location.
    pub credential: Option<CredentialExplanation>,
    /// The file with the `[[registry]]` entry.
    pub file: Option<PathBuf>,
    /// The references in the order in which they are tried.
    pub pulled_from: Vec<Reference>,
    /// The meaning of a name without a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_name: Option<ShortNameExplanation>,
}

/// A mirror of a reference.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct MirrorExplanation {
    /// The location, as in registries.conf.
    pub location: String,
    /// Whether the mirror is reached without verification of its certificate, or over plain HTTP.
    pub insecure: bool,
    /// Whether this reference would use the mirror.
    pub used: bool,
    /// The reference at the mirror, if it would be used.
    pub reference: Option<Reference>,
}

/// Certificates of a registry.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CertificatesExplanation {
    /// The directory.
    pub directory: PathBuf,
    /// The files with authorities.
    pub authorities: Vec<PathBuf>,
    /// The files with client certificates.
    pub clients: Vec<PathBuf>,
}

/// A credential, without its secret.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CredentialExplanation {
    /// The file, or the program of the helper.
    pub source: String,
    /// The user, if the credential has one.
    pub user: Option<String>,
    /// `password`, `identity-token` or `registry-token`, or `None` with an error.
    pub kind: Option<&'static str>,
    /// The key of the entry in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The credential file that names the helper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named_by: Option<PathBuf>,
    /// The error of the search, which a pull would report if the registry requires a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The meaning of a name without a registry.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ShortNameExplanation {
    /// `alias`, `search` or `docker.io`.
    pub by: &'static str,
    /// The file with the alias, or with the registries to search.
    pub file: Option<PathBuf>,
    /// The references that the name may stand for.
    pub candidates: Vec<Reference>,
    /// Whether the user should choose one of them.
    pub prompt: bool,
}

impl CredentialExplanation {
    /// Describes a credential from `source`.
    pub fn of(credential: &Credential, source: impl Into<String>) -> Self {
        let (user, kind) = match credential {
            Credential::Password { user, .. } => (Some(user.clone()), "password"),
            Credential::IdentityToken(_) => (None, "identity-token"),
            Credential::RegistryToken(_) => (None, "registry-token"),
        };
        Self { source: source.into(), user, kind: Some(kind), key: None, named_by: None, error: None }
    }

    fn of_found(found: FoundCredential) -> Self {
        let described = Self { user: found.user, ..Self::of(&found.credential, found.source.to_string()) };
        match found.source {
            CredentialSource::File { key, .. } => Self { key: Some(key), ..described },
            CredentialSource::Helper { file, .. } => Self { named_by: file, ..described },
        }
    }
}

impl Configuration {
    /// Explains the settings of a name. Runs credential helpers, but sends nothing to a registry.
    ///
    /// # Errors
    /// The errors of [`Self::resolve_name`], [`Self::resolve`] and [`Self::certificates`].
    pub fn explain(&self, name: &str, cancel: &Cancel) -> Result<Explanation> {
        let resolved = self.resolve_name(name)?;
        let reference = resolved.candidates.first().expect("a name has a meaning").clone();
        let (by, file) = match resolved.origin {
            NameOrigin::FullName => return self.explain_reference(&reference, cancel),
            NameOrigin::Alias(file) => ("alias", Some(file)),
            NameOrigin::SearchRegistries(file) => ("search", Some(file)),
            NameOrigin::DockerHub => ("docker.io", None),
        };
        let (candidates, prompt) = (resolved.candidates, resolved.should_choose);
        let short_name = Some(ShortNameExplanation { by, file, candidates, prompt });
        Ok(Explanation { short_name, ..self.explain_reference(&reference, cancel)? })
    }

    /// Explains the settings of a reference, which is not read as a short name.
    ///
    /// # Errors
    /// As [`Self::explain`].
    pub fn explain_reference(&self, reference: &Reference, cancel: &Cancel) -> Result<Explanation> {
        let Resolution { reference, prefix, location, blocked, insecure, file, endpoints } = self.resolve(reference)?;
        let primary = endpoints.last().and_then(|endpoint| endpoint.reference.as_ref()).unwrap_or(&reference);
        let credential = match self.find_credential(primary.domain(), primary.path(), cancel) {
            Ok(found) => found.map(CredentialExplanation::of_found),
            Err(error) => Some(CredentialExplanation {
                source: String::new(),
                user: None,
                kind: None,
                key: None,
                named_by: None,
                error: Some(with_causes(&error)),
            }),
        };
        let found = self.certificates(primary.domain())?;
        let certificates = found.directory.map(|directory| CertificatesExplanation {
            directory,
            authorities: found.authorities,
            clients: found.identities.into_iter().map(|(certificate, _)| certificate).collect(),
        });
        let pulled_from = endpoints.iter().filter(|endpoint| endpoint.is_used());
        let pulled_from = pulled_from.filter_map(|endpoint| endpoint.reference.clone()).collect();
        let mirror = |endpoint: &Endpoint| MirrorExplanation {
            location: endpoint.location.clone(),
            insecure: endpoint.insecure,
            used: endpoint.is_used(),
            reference: endpoint.reference.clone(),
        };
        let mirrors = endpoints.iter().filter(|endpoint| endpoint.is_mirror).map(mirror).collect();
        let short_name = None;
        Ok(Explanation {
            reference: reference.clone(),
            prefix,
            location,
            blocked,
            insecure,
            mirrors,
            certificates,
            credential,
            file,
            pulled_from,
            short_name,
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let insecure = |insecure| if insecure { " (insecure)" } else { "" };
        writeln!(f, "reference     {}", self.reference)?;
        if let Some(name) = &self.short_name {
            let file = name.file.as_ref().map_or(String::new(), |file| format!(" in {}", file.display()));
            writeln!(f, "short name    by {}{file}", name.by)?;
            for other in name.candidates.iter().skip(1) {
                writeln!(f, "              or {other}")?;
            }
        }
        match (&self.prefix, &self.file) {
            (Some(prefix), Some(file)) => writeln!(f, "entry         {prefix} in {}", file.display())?,
            _ => writeln!(f, "entry         none")?,
        }
        for mirror in &self.mirrors {
            let unused = if mirror.used { "" } else { " (not used for this reference)" };
            writeln!(f, "mirror        {}{}{unused}", mirror.location, insecure(mirror.insecure))?;
        }
        let blocked = if self.blocked { " (blocked)" } else { "" };
        writeln!(f, "location      {}{}{blocked}", self.location, insecure(self.insecure))?;
        for reference in &self.pulled_from {
            writeln!(f, "pulled from   {reference}")?;
        }
        match &self.certificates {
            Some(certificates) => writeln!(
                f,
                "certificates  {}: {} authorities, {} client certificates",
                certificates.directory.display(),
                certificates.authorities.len(),
                certificates.clients.len()
            )?,
            None => writeln!(f, "certificates  the system's")?,
        }
        match &self.credential {
            None => write!(f, "credential    none"),
            Some(CredentialExplanation { error: Some(error), .. }) => write!(f, "credential    error: {error}"),
            Some(credential) => {
                let user = credential.user.as_ref().map_or(String::new(), |user| format!(" of {user:?}"));
                write!(f, "credential    {}{user} from {}", credential.kind.unwrap_or_default(), credential.source)
            }
        }
    }
}
