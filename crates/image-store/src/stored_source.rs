//! An image of the store as a source, for copies.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use vmroot_model::{Descriptor, Digest, MANIFEST_LIMIT};
use vmroot_transport::{BlobBody, Error, ImageName, ImageSource, RawManifest, Result, identity_of_origin};
use vmroot_trust::{ImageIdentity, Signature, StoredBundle};

use crate::shared::FoundBlob;
use crate::{Image, Record, Store};

/// An image of a store as a source. Its documents and layers have the bytes that were pulled or loaded.
#[derive(Debug, Clone)]
pub struct StoredSource {
    store: Store,
    image: Image,
}

impl Store {
    /// Returns an image as a source.
    pub fn source(&self, image: &Image) -> StoredSource {
        self.touch(image.record());
        StoredSource { store: self.clone(), image: image.clone() }
    }
}

impl StoredSource {
    pub(crate) fn record(&self) -> &Record {
        self.image.record()
    }

    fn open(&self, digest: &Digest, size: Option<u64>) -> Result<(File, FoundBlob)> {
        let unknown = || Error::Unknown { place: self.name(), digest: *digest };
        let found = self.store.find_blob(digest, size).map_err(|error| self.failed(error))?.ok_or_else(unknown)?;
        match File::open(&found.path) {
            Ok(file) => Ok((file, found)),
            Err(source) => Err(Error::Io { action: "open", path: found.path, source }),
        }
    }

    fn failed(&self, error: crate::Error) -> Error {
        Error::other(self.name(), error.kind(), error)
    }
}

impl ImageSource for StoredSource {
    fn name(&self) -> String {
        let record = self.image.record();
        match &record.reference {
            Some(reference) => format!("vmroot:{reference}"),
            None => format!("vmroot:{}", record.id()),
        }
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        let own = &self.image.record().manifest;
        let digest = digest.unwrap_or(&own.digest);
        let media_type = (*digest == own.digest).then(|| own.media_type.to_string()).filter(|it| !it.is_empty());
        if let Some(bytes) = self.store.read_document(digest, MANIFEST_LIMIT) {
            return Ok(RawManifest { bytes, media_type });
        }
        // It is missing, damaged or too large.
        let (file, FoundBlob { length, .. }) = self.open(digest, None)?;
        if length > MANIFEST_LIMIT {
            let (place, digest) = (self.name(), *digest);
            return Err(Error::BlobTooLarge { place, digest, size: length, limit: MANIFEST_LIMIT });
        }
        let mut bytes = Vec::new();
        let read = file.take(MANIFEST_LIMIT).read_to_end(&mut bytes);
        read.map_err(|error| Error::of_reader(error, self.name(), *digest))?;
        let reason = "is damaged; `vmroot verify --repair` repairs the cache".to_owned();
        Err(Error::WrongBlob { place: self.name(), digest: *digest, reason })
    }

    /// Returns the identity of the image's origin: the registry, or the file or directory that it was loaded from.
    fn identity(&self) -> Result<ImageIdentity> {
        match (&self.record().loaded_from, &self.record().reference) {
            // Only `default` applies to an image without an origin.
            _ if self.record().is_made_here() => Ok(ImageIdentity::tarball()),
            (Some(origin), _) => identity_of_origin(origin),
            (None, Some(reference)) => ImageName::Docker(reference.clone()).policy_identity(),
            (None, None) => Ok(ImageIdentity::tarball()),
        }
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        Ok(self.store.kept_signatures(self.record()).signatures.remove(manifest).unwrap_or_default())
    }

    fn bundles(&self, manifest: &Digest) -> Result<Vec<StoredBundle>> {
        Ok(self.store.kept_signatures(self.record()).bundles.remove(manifest).unwrap_or_default())
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let (mut file, found) = self.open(&descriptor.digest, Some(descriptor.size))?;
        let (length, offset) = (found.length, offset.min(found.length));
        file.seek(SeekFrom::Start(offset)).map_err(|error| Error::of_reader(error, self.name(), descriptor.digest))?;
        Ok(BlobBody { reader: found.reader(file, length - offset), offset, size: Some(length) })
    }
}
