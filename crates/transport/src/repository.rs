//! The source for repositories of registries.

mod destination;

use std::io::{self, Read};

use vmroot_model::{Descriptor, Digest, Reference};
use vmroot_registry::{Client, ResumingBlob};

use crate::{BlobBody, Error, ImageSource, RawManifest, Result};

pub use destination::RegistryDestination;

/// The image of a reference, in its registry.
///
/// Interrupted blobs are resumed, within the retries of the client's options.
#[derive(Debug, Clone)]
pub struct RegistrySource {
    client: Client,
    reference: Reference,
}

impl RegistrySource {
    /// Creates a source of the image of `reference`. Without a tag and a digest, the tag is `latest`.
    pub fn new(client: Client, reference: Reference) -> Self {
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

    fn repository(&self) -> Option<&Reference> {
        Some(&self.reference)
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let reader = BlobReader(self.client.resuming_blob(&self.reference, descriptor, offset));
        Ok(BlobBody { reader: Box::new(reader), offset, size: Some(descriptor.size) })
    }
}

/// A reader whose errors contain an [`Error`], as those of all sources do.
struct BlobReader(ResumingBlob);

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let kind = error.kind();
            match error.downcast::<vmroot_registry::Error>() {
                Ok(error) => io::Error::new(kind, Error::Registry(error)),
                Err(error) => error,
            }
        })
    }
}
