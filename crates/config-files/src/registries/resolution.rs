//! The locations that stand for a reference.

use std::path::PathBuf;

use vmroot_model::Reference;

use super::{MirrorUse, Registries, Registry, matching_length};
use crate::{Error, Result};

/// The locations that stand for a reference.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// The reference.
    pub reference: Reference,
    /// The prefix of the `[[registry]]` entry, or `None` if there is none for the reference.
    pub prefix: Option<String>,
    /// The location of the entry. Without an entry or a location in it, the registry.
    pub location: String,
    /// Whether the location may not be used. Mirrors may.
    pub blocked: bool,
    /// Whether the location is reached without verification of its certificate, or over plain HTTP.
    pub insecure: bool,
    /// The file with the entry.
    pub file: Option<PathBuf>,
    /// The mirrors in order, then the location.
    pub endpoints: Vec<Endpoint>,
}

/// A mirror or a location.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The location, as in the file.
    pub location: String,
    /// The reference with its prefix replaced by the location. `None` if the endpoint is not used.
    pub reference: Option<Reference>,
    /// Whether certificates are not verified, and plain HTTP is allowed.
    pub insecure: bool,
    /// Whether this is a mirror, and not the location.
    pub is_mirror: bool,
    /// The file that blocks the endpoint.
    pub blocked: Option<PathBuf>,
}

impl Endpoint {
    /// Returns whether the endpoint is used for the reference.
    pub fn is_used(&self) -> bool {
        self.reference.is_some() && self.blocked.is_none()
    }
}

pub(super) fn resolve(registries: &Registries, reference: &Reference) -> Result<Resolution> {
    let Some(registry) = registries.find(&reference.name()) else { return Ok(without_entry(reference)) };
    let mut endpoints = Vec::new();
    for mirror in &registry.mirrors {
        let is_used = match mirror.used_for {
            MirrorUse::All => true,
            MirrorUse::Digests => reference.digest().is_some(),
            MirrorUse::Tags => reference.digest().is_none(),
        };
        let rewritten = is_used.then(|| rewrite(registry, &mirror.location, reference)).transpose()?;
        endpoints.push(Endpoint {
            location: mirror.location.clone(),
            blocked: rewritten.as_ref().and_then(|reference| blocked_by(registries, reference)),
            reference: rewritten,
            insecure: mirror.insecure,
            is_mirror: true,
        });
    }
    let rewritten = rewrite(registry, &registry.location, reference)?;
    let blocked = registry.blocked.then(|| registry.file.clone());
    let location = match registry.location.as_str() {
        "" => reference.domain(),
        location => location,
    };
    endpoints.push(Endpoint {
        location: location.to_owned(),
        blocked: blocked.or_else(|| blocked_by(registries, &rewritten)),
        reference: Some(rewritten),
        insecure: registry.insecure,
        is_mirror: false,
    });
    Ok(Resolution {
        reference: reference.clone(),
        prefix: Some(registry.prefix.clone()),
        location: location.to_owned(),
        blocked: registry.blocked,
        insecure: registry.insecure,
        file: Some(registry.file.clone()),
        endpoints,
    })
}

fn without_entry(reference: &Reference) -> Resolution {
    let location = reference.domain().to_owned();
    let endpoint = Endpoint {
        location: location.clone(),
        reference: Some(reference.clone()),
        insecure: false,
        is_mirror: false,
        blocked: None,
    };
    Resolution {
        reference: reference.clone(),
        prefix: None,
        location,
        blocked: false,
        insecure: false,
        file: None,
        endpoints: vec![endpoint],
    }
}

/// Returns the file that blocks a rewritten reference by an entry of its own.
fn blocked_by(registries: &Registries, reference: &Reference) -> Option<PathBuf> {
    registries.find(&reference.name()).filter(|registry| registry.blocked).map(|registry| registry.file.clone())
}

/// Replaces the prefix of a reference by a location. An empty location leaves it as it is.
///
/// The result must be a full name, as it is after normalisation: `docker.io/library/alpine`, not `docker.io/alpine`.
pub(super) fn rewrite(registry: &Registry, location: &str, reference: &Reference) -> Result<Reference> {
    let text = reference.to_string();
    let error = |rewritten: String, reason: String| Error::Rewrite {
        file: registry.file.clone(),
        location: location.to_owned(),
        reference: text.clone(),
        rewritten,
        reason,
    };
    let Some(length) = matching_length(&text, &registry.prefix) else {
        return Err(error(text.clone(), format!("{:?} is not its prefix", registry.prefix)));
    };
    if location.is_empty() {
        return Ok(reference.clone());
    }
    let rewritten = format!("{location}{}", &text[length..]);
    match Reference::parse(&rewritten) {
        Ok(reference) if reference.to_string() == rewritten => Ok(reference),
        Ok(reference) => Err(error(rewritten, format!("the full name would be {reference}"))),
        Err(cause) => Err(error(rewritten, cause.to_string())),
    }
}
