//! Copying the documents that refer to an image: signatures, bills of materials, attestations.

use std::collections::HashSet;

use vmroot_model::{Descriptor, Digest, Document};
use vmroot_signatures::ImageIdentity;
use vmroot_transport::ManifestPlace;

use crate::copier::Job;
use crate::{Error, Result};

/// The beginnings of the types of signatures and attestations: bundles and attachments of sigstore, and signatures of the
/// Notary Project.
const SIGNATURES: [&str; 3] =
    ["application/vnd.dev.sigstore.bundle", "application/vnd.dev.cosign.", "application/vnd.cncf.notary.signature"];

/// Returns whether a document is a signature or an attestation by its type. An image is not, as its config says.
fn is_signature(document: &Document) -> bool {
    let Document::Manifest(manifest) = document else { return false };
    let config = &manifest.config().media_type;
    let kind = manifest.artifact_type().filter(|kind| !kind.is_empty()).unwrap_or(config);
    !config.is_config() && SIGNATURES.iter().any(|beginning| kind.as_str().starts_with(beginning))
}

/// The most documents that refer to one image, directly or through others.
const REFERRERS_LIMIT: usize = 1000;

impl Job<'_> {
    /// Copies the documents that refer to those with these digests, and the ones that refer to them in turn. The policy
    /// is asked about each, but for signatures and attestations, which are verified when they are used.
    pub(crate) fn copy_referrers(&self, subjects: &[Digest]) -> Result<Vec<Descriptor>> {
        let mut copied = Vec::new();
        if !self.options().referrers {
            return Ok(copied);
        }
        let mut pending = subjects.to_vec();
        let mut seen: HashSet<Digest> = HashSet::new();
        while let Some(subject) = pending.pop() {
            for referrer in self.source.referrers(&subject).map_err(|error| self.source_error(error))? {
                if !seen.insert(referrer.digest) {
                    continue;
                }
                if seen.len() > REFERRERS_LIMIT {
                    return Err(Error::TooManyReferrers { place: self.source.name(), limit: REFERRERS_LIMIT });
                }
                let document = self.read_document(&referrer)?;
                self.admit_referrer(&document)?;
                match document {
                    Document::Manifest(manifest) => self.copy_image(&manifest, ManifestPlace::Referrer)?,
                    Document::Index(index) => self.copy_list(&index, ManifestPlace::Referrer, 0)?,
                };
                pending.push(referrer.digest);
                copied.push(referrer);
            }
        }
        Ok(copied)
    }

    /// Asks the policy about a document that refers to another one. In a registry its name is the repository with its
    /// digest.
    fn admit_referrer(&self, document: &Document) -> Result<()> {
        if is_signature(document) {
            return Ok(());
        }
        let (raw, digest) = match document {
            Document::Manifest(manifest) => (manifest.raw(), *manifest.digest()),
            Document::Index(index) => (index.raw(), *index.digest()),
        };
        let named = self.source.repository().map(|repository| repository.with_digest(digest));
        let identity = named.map(|name| ImageIdentity::docker(&name)).transpose();
        let identity = identity.map_err(|error| self.source_error(error.into()))?;
        self.admit_as(identity, raw, &digest, &[])
    }
}
