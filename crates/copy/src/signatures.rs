//! Signatures of copied images: a policy is asked about them, they are carried along, and new ones are made.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmroot_model::{Digest, Index, Reference};
use vmroot_signatures::{ImageIdentity, Signature};
use vmroot_transport::{JudgedImage, ManifestPlace};

use crate::copier::{Copied, Job};
use crate::{Error, Result};

/// Makes signatures of copied images.
pub trait ImageSigner: Send + Sync + fmt::Debug {
    /// Returns a signature of a manifest that binds it to a name.
    ///
    /// # Errors
    /// The key cannot be used.
    fn sign(
        &self,
        manifest: &Digest,
        name: &Reference,
    ) -> std::result::Result<Signature, Box<dyn StdError + Send + Sync>>;
}

/// The state of a copy that concerns signatures.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// The carried signatures of each document that was judged, by its digest in the source.
    carried: Mutex<HashMap<Digest, Vec<Signature>>>,
    /// The indexes above the document that is copied, the upper one first.
    above: Mutex<Vec<Index>>,
}

impl Signatures {
    fn carried(&self) -> MutexGuard<'_, HashMap<Digest, Vec<Signature>>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn above(&self) -> MutexGuard<'_, Vec<Index>> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an index, whose documents are copied next.
    pub(crate) fn enter(&self, index: &Index) {
        self.above().push(index.clone());
    }

    /// Leaves the index that was entered last.
    pub(crate) fn leave(&self) {
        self.above().pop();
    }

    /// Leaves the indexes that do not name a document.
    pub(crate) fn leave_others(&self, document: &Digest) {
        let names = |index: &Index| index.manifests().iter().any(|entry| entry.digest == *document);
        let mut above = self.above();
        while above.last().is_some_and(|index| !names(index)) {
            above.pop();
        }
    }
}

impl Job<'_> {
    /// Returns whether signatures of a document of the source are carried, so that it must stay as it is.
    pub(crate) fn is_signed(&self, digest: &Digest) -> bool {
        self.signatures.carried().get(digest).is_some_and(|signatures| !signatures.is_empty())
    }

    /// Asks the policy about a document, and reads the signatures to carry. Referrers are judged before, and carry none:
    /// their own signatures are other referrers.
    pub(crate) fn prepare(&self, bytes: &[u8], digest: &Digest, place: ManifestPlace) -> Result<()> {
        if place == ManifestPlace::Referrer || self.signatures.carried().contains_key(digest) {
            return Ok(());
        }
        let original = self.source.original_manifest().map(|raw| (Digest::of(&raw.bytes), raw.bytes));
        match &original {
            Some((digest, bytes)) => self.admit(bytes, digest, &[])?,
            None => {
                let above = self.signatures.above();
                let indexes = above.iter().rev().map(|index| (*index.digest(), index.raw().to_vec()));
                let indexes: Vec<_> = indexes.collect();
                drop(above);
                self.admit(bytes, digest, &indexes)?;
            }
        }
        let signed = original.as_ref().map_or(digest, |(digest, _)| digest);
        self.read_signatures(digest, signed)
    }

    /// Reads the signatures of a list to carry. Its images are judged one by one.
    pub(crate) fn prepare_list(&self, index: &Index, place: ManifestPlace) -> Result<()> {
        match place {
            ManifestPlace::Referrer => Ok(()),
            ManifestPlace::Top | ManifestPlace::Instance => self.read_signatures(index.digest(), index.digest()),
        }
    }

    /// Reads the signatures of the document `signed` to carry, which has the digest `digest` in the copy.
    fn read_signatures(&self, digest: &Digest, signed: &Digest) -> Result<()> {
        let signatures = match self.options().remove_signatures {
            true => Vec::new(),
            false => self.source.signatures(signed).map_err(|error| self.source_error(error))?,
        };
        if !signatures.is_empty() {
            self.check_destination()?;
            if signed != digest {
                let reason = "its layers are stored in another form, which would invalidate its signatures".to_owned();
                let (from, to) = (self.source.name(), self.destination.name());
                return Err(Error::MustNotChange { from, to, reason });
            }
        }
        self.signatures.carried().insert(*digest, signatures);
        Ok(())
    }

    /// Returns whether the policy needs to see the images of the source.
    pub(crate) fn is_judged(&self) -> Result<bool> {
        let Some(admission) = self.options().admission.as_ref().filter(|it| !it.accepts_everything()) else {
            return Ok(false);
        };
        let identity = self.source.identity().map_err(|error| self.source_error(error))?;
        Ok(!admission.accepts_unseen(&identity))
    }

    fn admit(&self, manifest: &[u8], digest: &Digest, indexes: &[(Digest, Vec<u8>)]) -> Result<()> {
        self.admit_as(None, manifest, digest, indexes)
    }

    /// Asks the policy about a document under a name. `None` stands for that of the source.
    pub(crate) fn admit_as(
        &self,
        identity: Option<ImageIdentity>,
        manifest: &[u8],
        digest: &Digest,
        indexes: &[(Digest, Vec<u8>)],
    ) -> Result<()> {
        let Some(admission) = self.options().admission.as_ref().filter(|it| !it.accepts_everything()) else {
            return Ok(());
        };
        let identity = identity.map_or_else(|| self.source.identity(), Ok).map_err(|error| self.source_error(error))?;
        if admission.accepts_unseen(&identity) {
            return Ok(());
        }
        self.options().cancel.check()?;
        let image = JudgedImage { manifest, digest: *digest, indexes };
        let admitted = admission.check_as(&identity, self.source, &image).map_err(|error| self.source_error(error))?;
        self.destination.note_admitted(&admitted);
        Ok(())
    }

    /// Fails if the destination cannot hold signatures.
    fn check_destination(&self) -> Result<()> {
        match self.destination.signatures_refusal() {
            Some(reason) => {
                let (from, to) = (self.source.name(), self.destination.name());
                Err(Error::Signatures { from, to, reason })
            }
            None => Ok(()),
        }
    }

    /// Writes the carried signatures of a document, and new ones.
    pub(crate) fn put_signatures(&self, source: &Digest, copied: &Copied, place: ManifestPlace) -> Result<()> {
        if place == ManifestPlace::Referrer {
            return Ok(());
        }
        let digest = &copied.descriptor.digest;
        let mut signatures = self.signatures.carried().get(source).cloned().unwrap_or_default();
        if !self.options().signers.is_empty() {
            self.check_destination()?;
            let name = self.signed_name()?;
            for signer in &self.options().signers {
                let signature = signer.sign(digest, &name);
                signatures.push(signature.map_err(|source| Error::Sign { digest: *digest, source })?);
            }
        }
        if signatures.is_empty() || self.options().dry_run {
            return Ok(());
        }
        let written = self.destination.put_signatures(digest, place, &signatures);
        written.map_err(|error| self.destination_error(error))
    }

    /// Returns the name for new signatures: that of the options, or that of the destination.
    fn signed_name(&self) -> Result<Reference> {
        let name = self.options().sign_identity.as_ref().or_else(|| self.destination.repository());
        name.cloned().ok_or_else(|| Error::NoSignedName { place: self.destination.name() })
    }
}
