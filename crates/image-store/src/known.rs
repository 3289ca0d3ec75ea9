//! A source whose small documents are read from the cache where they are there already.

use std::fs;
use std::io::Cursor;

use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, MANIFEST_LIMIT};
use vmroot_transport::{BlobBody, ImageSource, RawManifest, Result};

use crate::Store;

/// Another source, asked only for what a name means and for what the cache does not have.
///
/// Layers are not looked for here: [`Store`] does so itself, and without keeping them in memory.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) store: &'a Store,
    pub(crate) source: &'a dyn ImageSource,
}

impl Known<'_> {
    /// A blob that is whole and not longer than `limit`.
    fn read(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let blob = self.store.cache.get(digest).ok()??;
        let bytes = (blob.len <= limit).then(|| fs::read(&blob.path).ok())??;
        digest.is_of(&bytes).then_some(bytes)
    }
}

impl ImageSource for Known<'_> {
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
