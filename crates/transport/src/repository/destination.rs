//! The destination for repositories of registries.

use std::io::{self, Read};
use std::sync::Arc;

use vmroot_errors::with_causes;
use vmroot_model::{Descriptor, Digest, Document, MediaType, Reference, manifest_digest};
use vmroot_registry::{Client, ReferrerChange, SignatureLocations, SignaturePlaces, UploadBody};
use vmroot_signatures::Signature;

use super::ListedTags;
use crate::{Accepts, Error, ImageDestination, LayerForm, ManifestPlace, NewBlob, Result, Reuse};

/// A name in a repository of a registry, as a destination.
///
/// An interrupted upload continues where the registry's copy ends, within the retries of the client's options.
#[derive(Debug, Clone)]
pub struct RegistryDestination {
    pub(super) client: Client,
    /// With a tag or a digest, unless `untagged`.
    pub(super) reference: Reference,
    /// Whether the image gets no tag, and is found by its digest only.
    untagged: bool,
    /// More tags for the same image.
    additional_tags: Vec<String>,
    /// The tags that the repository has.
    listed: Option<Arc<ListedTags>>,
    /// The places of signatures.
    signatures: Option<Arc<dyn SignaturePlaces>>,
}

impl RegistryDestination {
    /// Creates a destination for `reference`. Without a tag and a digest, the tag is `latest`. With a digest, only an
    /// image of that digest can be written.
    pub fn new(client: Client, reference: Reference) -> Self {
        let reference = match (reference.tag(), reference.digest()) {
            (None, None) => reference.with_tag("latest").expect("latest is a tag"),
            _ => reference,
        };
        Self { client, reference, untagged: false, additional_tags: Vec::new(), listed: None, signatures: None }
    }

    /// Creates a destination in the repository of `reference` for an image without a tag.
    pub fn untagged(client: Client, reference: Reference) -> Self {
        Self { client, reference, untagged: true, additional_tags: Vec::new(), listed: None, signatures: None }
    }

    /// Returns a destination that gives the image more tags.
    ///
    /// # Errors
    /// [`Error::InvalidName`]: a tag is malformed.
    pub fn with_additional_tags(mut self, tags: Vec<String>) -> Result<Self> {
        for tag in &tags {
            let invalid =
                |error: vmroot_model::Error| Error::InvalidName { name: tag.clone(), reason: error.to_string() };
            self.reference.with_tag(tag).map_err(invalid)?;
        }
        self.additional_tags = tags;
        Ok(self)
    }

    /// Returns a destination that writes signatures to these places.
    #[must_use]
    pub fn with_signatures(self, places: Arc<dyn SignaturePlaces>) -> Self {
        Self { signatures: Some(places), ..self }
    }

    /// Returns the places of signatures, if there are any.
    pub(super) fn locations(&self) -> Result<Option<SignatureLocations>> {
        let places = self.signatures.as_ref();
        Ok(places.map(|places| places.signature_locations(&self.reference)).transpose()?)
    }

    /// Returns a destination that asks for its image only if its tag is among those of the repository.
    pub fn with_listed_tags(self, tags: Arc<ListedTags>) -> Self {
        Self { listed: Some(tags), ..self }
    }

    /// Returns the names under which the registry stores the top document.
    fn names(&self, digest: &Digest) -> Vec<String> {
        let first = match (self.reference.digest(), self.reference.tag()) {
            (None, Some(tag)) if !self.untagged => tag.to_owned(),
            // A document with tags has its digest as a name, too.
            _ if !self.additional_tags.is_empty() => return self.additional_tags.clone(),
            _ => digest.to_string(),
        };
        std::iter::once(first).chain(self.additional_tags.iter().cloned()).collect()
    }

    /// Writes a document under the names, and lists it as a referrer of its subject if the registry has not done so.
    pub(super) fn put(&self, names: &[&str], bytes: &[u8], media_type: &MediaType) -> Result<()> {
        let put = match names {
            [name] => self.client.put_manifest(&self.reference, name, bytes, media_type),
            tags => self.client.put_manifest_with_tags(&self.reference, tags, bytes, media_type),
        };
        let pushed = put.map_err(|error| match error.is_manifest_refused() {
            true => {
                Error::Refused { place: self.name(), media_type: media_type.to_string(), reason: with_causes(&error) }
            }
            false => error.into(),
        })?;
        match subject(bytes, media_type) {
            Some(subject) if pushed.subject.is_none() => {
                let change = ReferrerChange::Add { manifest: bytes, media_type };
                Ok(self.client.update_referrers_fallback(&self.reference, &subject, change)?)
            }
            _ => Ok(()),
        }
    }
}

/// Returns the answer to a request that only saves work, or `None` if the registry refuses it: some serve no HEAD requests
/// or fail to mount blobs, and some accounts may only push. If the refusal has another cause, writing fails for it, too.
fn known<T>(answer: vmroot_registry::Result<T>) -> Result<Option<T>> {
    use vmroot_registry::Error as Failure;
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::NotFound { .. }) => Ok(None),
        Err(error @ (Failure::Unauthorized { .. } | Failure::Status { .. })) => {
            tracing::info!(error = with_causes(&error), "the registry refuses a request that would save work");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the digest of the document that a manifest or index refers to.
fn subject(bytes: &[u8], media_type: &MediaType) -> Option<Digest> {
    match Document::parse(bytes.to_vec(), Some(media_type.as_str())).ok()? {
        Document::Manifest(manifest) => manifest.subject().map(|subject| subject.digest),
        Document::Index(index) => index.subject().map(|subject| subject.digest),
    }
}

impl ImageDestination for RegistryDestination {
    fn name(&self) -> String {
        format!("docker://{}", self.reference)
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            documents: [&MediaType::DOCUMENTS[..], &[MediaType::DOCKER_SCHEMA1_SIGNED, MediaType::DOCKER_SCHEMA1]]
                .concat(),
            layers: LayerForm::Compress,
            foreign_layers: true,
            digest: self.reference.digest().copied(),
        }
    }

    fn current(&self) -> Result<Option<Digest>> {
        if self.untagged || !self.additional_tags.is_empty() {
            return Ok(None);
        }
        if self.listed.as_ref().is_some_and(|listed| listed.lacks(&self.client, &self.reference)) {
            return Ok(None);
        }
        Ok(known(self.client.head_manifest(&self.reference))?.and_then(|head| head.digest))
    }

    fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        Ok(known(self.client.head_manifest(&self.reference.with_digest(*digest)))?.is_some())
    }

    fn blob_scope(&self) -> String {
        format!("docker://{}", self.reference.name())
    }

    fn repository(&self) -> Option<&Reference> {
        Some(&self.reference)
    }

    fn reuse_blob(&self, blob: &Descriptor, origins: &[Reference]) -> Result<Reuse> {
        if known(self.client.has_blob(&self.reference, &blob.digest))?.flatten() == Some(blob.size) {
            return Ok(Reuse::Present);
        }
        for origin in origins {
            if known(self.client.mount_blob(&self.reference, &blob.digest, origin))? == Some(true) {
                return Ok(Reuse::Mounted);
            }
        }
        Ok(Reuse::Absent)
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        Ok(self.client.upload_blob(&self.reference, &mut Upload(blob))?)
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        let digest = manifest_digest(bytes).unwrap_or_else(|_| Digest::of(bytes));
        let names = match place {
            ManifestPlace::Top => self.names(&digest),
            ManifestPlace::Instance | ManifestPlace::Referrer => vec![digest.to_string()],
        };
        self.put(&names.iter().map(String::as_str).collect::<Vec<_>>(), bytes, media_type)
    }

    fn signatures_refusal(&self) -> Option<String> {
        None
    }

    fn put_signatures(&self, manifest: &Digest, _place: ManifestPlace, signatures: &[Signature]) -> Result<()> {
        self.write_signatures(manifest, signatures)
    }

    fn commit(&self) -> Result<()> {
        Ok(())
    }
}

/// A blob as the body of an upload.
struct Upload<'a, 'b>(&'a mut NewBlob<'b>);

impl Read for Upload<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl UploadBody for Upload<'_, '_> {
    fn size(&self) -> Option<u64> {
        self.0.size()
    }

    fn digest(&self) -> Option<Digest> {
        self.0.digest()
    }
}
