//! Credentials that were found, until a server refuses them.

use std::sync::Arc;

use super::{Once, Target, lock, place};
use crate::{Credential, Credentials, Result};

/// A credential as it was found, or that none was.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) credential: Option<Credential>,
    /// How often the source was asked for it before.
    generation: u64,
}

/// Remembers the credential that was found for each repository.
pub(super) struct Keyring {
    source: Arc<dyn Credentials>,
    found: Once<Target, Key>,
}

impl Keyring {
    pub(super) fn new(source: Arc<dyn Credentials>) -> Self {
        Self { source, found: Once::default() }
    }

    /// The credential for a repository.
    pub(super) fn get(&self, target: &Target) -> Result<Key> {
        let place = place(&self.found, target);
        // Held while the source is asked, which may start a program: parallel requests need it to run once.
        let mut found = lock(&place);
        if let Some(key) = &*found {
            return Ok(key.clone());
        }
        let key = Key { credential: self.ask(target)?, generation: 0 };
        Ok(found.insert(key).clone())
    }

    /// The credential in place of one that was refused. If another thread has renewed it already, that one is taken.
    ///
    /// Helpers give passwords that are good for an hour, to programs that run for weeks.
    pub(super) fn renew(&self, target: &Target, refused: &Key) -> Result<Key> {
        let place = place(&self.found, target);
        let mut found = lock(&place);
        if let Some(key) = found.as_ref().filter(|key| key.generation != refused.generation) {
            return Ok(key.clone());
        }
        let key = Key { credential: self.ask(target)?, generation: refused.generation + 1 };
        Ok(found.insert(key).clone())
    }

    fn ask(&self, target: &Target) -> Result<Option<Credential>> {
        let credential = self.source.get(&target.domain, &target.repository)?;
        tracing::debug!(registry = target.domain, ?credential, "looked for credentials");
        Ok(credential)
    }
}
