//! Signatures that are added to a layout: attachments under the tag that cosign gives them in a registry, with the
//! marks by which `cosign verify --local-image` finds them (sigstore/cosign, pkg/oci/layout).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use vmroot_model::{Descriptor, Digest, Document, MediaType};
use vmroot_signatures::Signature;

use super::index_file::IndexFile;
use super::signatures::{KIND, SIGNATURES};
use crate::attachments::{Attachments, attachment_tag, layer_of};
use crate::{Error, Result};

/// The marks of an image and of a list that have signatures.
const IMAGE: &str = "dev.cosignproject.cosign/image";
const LIST: &str = "dev.cosignproject.cosign/imageIndex";

/// The documents of a layout that the attachments of an image consist of.
pub(crate) trait Documents {
    /// Reads a document, or returns `None` if it is missing or damaged.
    fn read(&self, digest: &Digest) -> Option<Vec<u8>>;

    /// Writes a document or another blob that is in memory.
    ///
    /// # Errors
    /// The layout cannot be written.
    fn write(&self, digest: &Digest, bytes: &[u8]) -> Result<()>;
}

/// The layers with new signatures, by the digest of the signed document.
#[derive(Debug, Default)]
pub(crate) struct NewSignatures(Mutex<BTreeMap<Digest, Vec<Descriptor>>>);

impl NewSignatures {
    /// Writes the payloads of signatures. [`Self::enter`] adds them to the index.
    ///
    /// # Errors
    /// - [`Error::CannotHoldSignatures`]: one of them is not a sigstore signature. None is written then.
    /// - The layout cannot be written.
    pub(crate) fn add(
        &self,
        place: String,
        documents: &impl Documents,
        manifest: &Digest,
        signatures: &[Signature],
    ) -> Result<()> {
        let layers: Option<Vec<_>> = signatures.iter().map(layer_of).collect();
        let Some(layers) = layers else {
            let reason = "a layout has sigstore signatures only, and one of these is an OpenPGP message".to_owned();
            return Err(Error::CannotHoldSignatures { place, reason });
        };
        for (layer, payload) in &layers {
            documents.write(&layer.digest, payload)?;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(*manifest).or_default().extend(layers.into_iter().map(|(layer, _)| layer));
        Ok(())
    }

    /// Marks an image or a list of which there are new signatures, so that cosign finds it.
    pub(crate) fn mark(&self, top: &mut Descriptor) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&top.digest) {
            let kind = if top.media_type.is_index() { LIST } else { IMAGE };
            top.annotations.insert(KIND.to_owned(), kind.to_owned());
        }
    }

    /// Enters the attachments into the index of the layout. Signatures that it has already stay. The caller holds the lock
    /// of the index.
    ///
    /// # Errors
    /// The layout cannot be written. `invalid` makes the error of an index that cannot be changed.
    pub(crate) fn enter(
        &self,
        index: &mut IndexFile,
        documents: &impl Documents,
        invalid: impl Fn(serde_json::Error) -> Error,
    ) -> Result<()> {
        for (manifest, layers) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let tag = attachment_tag(manifest);
            let mut attachments = existing(index, &tag, documents);
            for layer in layers {
                attachments.add(layer);
            }
            let (config, bytes) = attachments.config();
            documents.write(&config.digest, &bytes)?;
            let bytes = attachments.manifest(&config);
            let mut entry = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
            documents.write(&entry.digest, &bytes)?;
            entry.annotations.insert(KIND.to_owned(), SIGNATURES.to_owned());
            index.replace(&entry, &tag).map_err(&invalid)?;
        }
        Ok(())
    }
}

/// Returns the attachments that the layout has under a tag. Damaged ones are replaced.
fn existing(index: &IndexFile, tag: &str, documents: &impl Documents) -> Attachments {
    let document = index.find(Some(tag)).and_then(|digest| documents.read(&digest));
    match document.map(|bytes| Document::parse(bytes, None)) {
        Some(Ok(Document::Manifest(manifest))) => {
            let config = documents.read(&manifest.config().digest).unwrap_or_default();
            Attachments::of(&manifest, &config)
        }
        _ => Attachments::new(),
    }
}
