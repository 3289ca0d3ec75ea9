//! A source that reads manifests and configs from the cache if they are there.

use std::fs;
use std::io::Cursor;

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

impl CachedSource<'_> {
    /// Returns a blob of the cache if its digest is right and it has at most `limit` bytes.
    fn read(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let blob = self.store.cache.get(digest).ok()??;
        let bytes = (blob.length <= limit).then(|| fs::read(&blob.path).ok())??;
        digest.is_of(&bytes).then_some(bytes)
    }
}

impl ImageSource for CachedSource<'_> {
    fn name(&self) -> String {
        self.source.name()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        match digest.and_then(|digest| self.read(digest, MANIFEST_LIMIT)) {
            Some(bytes) => Ok(RawManifest { bytes, media_type: None }),
            None => self.source.manifest(digest),
        }
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        match self.read(&descriptor.digest, CONFIG_LIMIT) {
            Some(bytes) => {
                let size = Some(bytes.len() as u64);
                let mut reader = Cursor::new(bytes);
                reader.set_position(offset);
                Ok(BlobBody { reader: Box::new(reader), offset, size })
            }
            None => self.source.blob(descriptor, offset),
        }
    }
}
