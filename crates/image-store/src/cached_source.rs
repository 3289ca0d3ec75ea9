//! A source that reads manifests and configs from the cache if they are there.

use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, MANIFEST_LIMIT};
use vmroot_transport::{BlobBody, ImageSource, RawManifest, Result};

use crate::Store;

/// A source that uses the underlying one only to resolve a name and to read documents that the cache lacks.
///
/// It is not meant for layers: [`Store`] looks these up in the cache itself, without reading them into memory.
#[derive(Debug)]
pub(crate) struct CachedSource<'a> {
    pub(crate) store: &'a Store,
    pub(crate) source: &'a dyn ImageSource,
}

impl ImageSource for CachedSource<'_> {
    fn name(&self) -> String {
        self.source.name()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        match digest.and_then(|digest| self.store.read_document(digest, MANIFEST_LIMIT)) {
            Some(bytes) => Ok(RawManifest { bytes, media_type: None }),
            None => self.source.manifest(digest),
        }
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        match self.store.read_document(&descriptor.digest, CONFIG_LIMIT) {
            Some(bytes) => Ok(BlobBody::of_bytes(bytes, offset)),
            None => self.source.blob(descriptor, offset),
        }
    }
}
