//! A cache of credentials by repository.

use std::sync::Arc;

use super::{OnceMap, Target, lock, slot};
use crate::{Cancel, Credential, Credentials, Result};

/// The result of a search for credentials, which may be that there are none.
#[derive(Clone)]
pub(super) struct CachedCredential {
    pub(super) credential: Option<Credential>,
    /// The number of renewals before this one.
    generation: u64,
}

/// Caches the credential of each repository until a server refuses it.
pub(super) struct CredentialCache {
    source: Arc<dyn Credentials>,
    credentials: OnceMap<Target, CachedCredential>,
}

impl CredentialCache {
    pub(super) fn new(source: Arc<dyn Credentials>) -> Self {
        Self { source, credentials: OnceMap::default() }
    }

    /// Returns the credential for a repository. The source is consulted on the first call.
    pub(super) fn get(&self, target: &Target, cancel: &Cancel) -> Result<CachedCredential> {
        let slot = slot(&self.credentials, target);
        // The lock is held while the source, which may start a program, is consulted. So it is consulted once for
        // parallel requests.
        let mut credentials = lock(&slot);
        if let Some(cached) = &*credentials {
            return Ok(cached.clone());
        }
        let cached = CachedCredential { credential: self.look_up(target, cancel)?, generation: 0 };
        Ok(credentials.insert(cached).clone())
    }

    /// Consults the source again after a credential was refused. If another thread has done so already, its result is
    /// returned.
    ///
    /// Helpers return passwords that expire within hours, and clients run for weeks.
    pub(super) fn renew(
        &self,
        target: &Target,
        refused: &CachedCredential,
        cancel: &Cancel,
    ) -> Result<CachedCredential> {
        let slot = slot(&self.credentials, target);
        let mut credentials = lock(&slot);
        if let Some(cached) = credentials.as_ref().filter(|cached| cached.generation != refused.generation) {
            return Ok(cached.clone());
        }
        let cached = CachedCredential { credential: self.look_up(target, cancel)?, generation: refused.generation + 1 };
        Ok(credentials.insert(cached).clone())
    }

    fn look_up(&self, target: &Target, cancel: &Cancel) -> Result<Option<Credential>> {
        let credential = self.source.get(&target.domain, &target.repository, cancel)?;
        tracing::debug!(registry = target.domain, ?credential, "searched for credentials");
        if credential.is_none() {
            tracing::info!("{}: anonymous, because there are no credentials for it", target.domain);
        }
        Ok(credential)
    }
}
