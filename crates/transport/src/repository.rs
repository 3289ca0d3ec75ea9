//! A repository of a registry as a source.

use std::sync::Arc;

use vmroot_model::{Descriptor, Digest, Reference};
use vmroot_registry::Client;

use crate::{BlobBody, ImageSource, RawManifest, Result};

/// The image that a reference names, in its registry.
///
/// Blobs are taken up again where a connection breaks, as the client's options have it.
#[derive(Debug, Clone)]
pub struct RegistrySource {
    client: Arc<Client>,
    reference: Reference,
}

impl RegistrySource {
    /// A source of the image that `reference` names; `latest` if it has neither tag nor digest.
    pub fn new(client: Arc<Client>, reference: Reference) -> Self {
        Self { client, reference }
    }
}

impl ImageSource for RegistrySource {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        let fetched = match digest {
            Some(digest) => self.client.manifest_by_digest(&self.reference, digest)?,
            None => self.client.manifest(&self.reference)?,
        };
        Ok(RawManifest { bytes: fetched.bytes, media_type: fetched.media_type })
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let reader = self.client.resuming_blob(&self.reference, descriptor, offset);
        Ok(BlobBody { reader: Box::new(reader), offset, size: Some(descriptor.size) })
    }
}
