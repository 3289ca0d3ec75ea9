//! Copying the documents that refer to an image: signatures, bills of materials, attestations.

use std::collections::HashSet;

use vmroot_model::{Descriptor, Digest, Document};
use vmroot_transport::ManifestPlace;

use crate::copier::Job;
use crate::{Error, Result};

/// The most documents that refer to one image, directly or through others.
const REFERRERS_LIMIT: usize = 1000;

impl Job<'_> {
    /// Copies the documents that refer to those with these digests, and the ones that refer to them in turn.
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
                match self.read_document(&referrer)? {
                    Document::Manifest(manifest) => self.copy_image(&manifest, ManifestPlace::Referrer)?,
                    Document::Index(index) => self.copy_list(&index, ManifestPlace::Referrer, 0)?,
                };
                pending.push(referrer.digest);
                copied.push(referrer);
            }
        }
        Ok(copied)
    }
}
