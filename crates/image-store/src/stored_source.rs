//! An image of the store as a source, for copies.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use serde::Serialize;
use vmroot_model::{Descriptor, Digest, Document, MANIFEST_LIMIT, MediaType, Reference};
use vmroot_signatures::{ImageIdentity, Signature, StoredBundle};
use vmroot_transport::{BlobBody, Error, ImageName, ImageSource, RawManifest, Result, identity_of_origin};

use crate::in_use::Pin;
use crate::save::lists::indexes_above;
use crate::shared::FoundBlob;
use crate::tags::records_of;
use crate::{Image, Record, Store};

/// An image of a store as a source, or the list of the images of a name. The documents and layers have the bytes that were
/// pulled or loaded.
#[derive(Debug, Clone)]
pub struct StoredSource {
    store: Store,
    image: Image,
    list: Option<StoredList>,
}

/// The list of the images of a name.
#[derive(Debug, Clone)]
struct StoredList {
    digest: Digest,
    raw: RawManifest,
    /// The images, which are in use.
    images: Vec<Image>,
}

/// An index of the images of a name that have no index in common.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexFile {
    schema_version: u32,
    media_type: MediaType,
    manifests: Vec<Descriptor>,
}

impl Store {
    /// Returns an image as a source.
    pub fn source(&self, image: &Image) -> StoredSource {
        self.touch(image.record());
        StoredSource { store: self.clone(), image: image.clone(), list: None }
    }

    /// Returns the images that the store has under a name, for several platforms, as one source. Its document is the index
    /// that the name resolved to. It is a new one if the images have no index in common, and the manifest if there is only
    /// one image. `name` is a reference, an id, or a unique prefix of an id.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn list_source(&self, name: &str) -> crate::Result<StoredSource> {
        let images = loop {
            let snapshot = self.visible()?;
            let records = records_of(&snapshot, name, None)?;
            let pinned = |record: &&Record| -> crate::Result<Option<(Record, Pin)>> {
                Ok(self.pin_current(record)?.map(|pin| ((*record).clone(), pin)))
            };
            let pinned: Option<Vec<_>> = records.iter().map(pinned).collect::<crate::Result<_>>()?;
            // A record that was replaced or removed meanwhile is looked up again.
            let Some(pinned) = pinned else { continue };
            let image = |(record, pin)| self.image(record, pin);
            break pinned.into_iter().map(image).collect::<crate::Result<Vec<_>>>()?;
        };
        images.iter().for_each(|image| self.touch(image.record()));
        let list = self.list_of(&images)?;
        let Some(image) = images.into_iter().next() else {
            return Err(crate::Error::NoSuchImage(name.to_owned()));
        };
        Ok(StoredSource { store: self.clone(), image, list })
    }

    /// Returns the list of images: their common index, or a new one of several.
    fn list_of(&self, images: &[Image]) -> crate::Result<Option<StoredList>> {
        let Some(first) = images.first().map(Image::record) else { return Ok(None) };
        let has_index =
            |image: &Image| image.record().digest == first.digest && !indexes_above(self, image.record()).is_empty();
        if images.iter().all(has_index)
            && let Some(bytes) = self.read_document(&first.digest, MANIFEST_LIMIT)
            && let Ok(Document::Index(index)) = Document::parse(bytes.clone(), None)
            && (images.len() > 1 || index.manifests().len() == 1)
        {
            let raw = RawManifest { bytes, media_type: Some(index.media_type().to_string()) };
            return Ok(Some(StoredList { digest: first.digest, raw, images: images.to_vec() }));
        }
        if images.len() == 1 {
            return Ok(None);
        }
        let describe = |image: &Image| -> crate::Result<Descriptor> {
            let record = image.record();
            let platform = Some(record.platform.clone());
            Ok(Descriptor { platform, ..self.describe_document(record, &record.manifest.digest)? })
        };
        let manifests = images.iter().map(describe).collect::<crate::Result<Vec<_>>>()?;
        let index = IndexFile { schema_version: 2, media_type: MediaType::OCI_INDEX, manifests };
        let bytes = serde_json::to_vec(&index).expect("descriptors are plain data");
        let digest = Digest::of(&bytes);
        let raw = RawManifest { bytes, media_type: Some(MediaType::OCI_INDEX.to_string()) };
        Ok(Some(StoredList { digest, raw, images: images.to_vec() }))
    }
}

impl StoredSource {
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    pub(crate) fn record(&self) -> &Record {
        self.image.record()
    }

    /// Returns the record with the signatures of a manifest or index: that of the image that has it.
    fn record_of(&self, manifest: &Digest) -> &Record {
        let images = self.list.iter().flat_map(|list| &list.images).chain([&self.image]);
        let mut records = images.map(Image::record);
        records.find(|record| record.has_document(manifest)).unwrap_or_else(|| self.record())
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

    fn has_instance(&self, digest: &Digest) -> bool {
        let Some(list) = &self.list else { return true };
        list.images.iter().any(|image| image.record().has_document(digest))
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        if let Some(list) = self.list.as_ref().filter(|list| digest.is_none_or(|digest| *digest == list.digest)) {
            return Ok(list.raw.clone());
        }
        let manifests = self.list.iter().flat_map(|list| &list.images).chain([&self.image]);
        let mut manifests = manifests.map(|image| &image.record().manifest);
        let own = manifests.find(|own| digest == Some(&own.digest)).unwrap_or(&self.image.record().manifest);
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
        let reason = "is damaged in the cache".to_owned();
        Err(Error::WrongBlob { place: self.name(), digest: *digest, reason })
    }

    /// Returns the index that the image's name resolved to, if it was pulled or loaded by one.
    fn original_manifest(&self) -> Option<RawManifest> {
        let record = self.image.record();
        let top = Some(&record.digest).filter(|digest| **digest != record.manifest.digest)?;
        Some(RawManifest { bytes: self.store.read_document(top, MANIFEST_LIMIT)?, media_type: None })
    }

    /// Returns the identity of the image's origin: the registry, or the file or directory that it was loaded from. An image
    /// that has got another name has the identity of the one under which it was pulled.
    fn identity(&self) -> Result<ImageIdentity> {
        match (&self.record().loaded_from, &self.record().reference) {
            // Only `default` applies to an image without an origin.
            _ if self.record().is_made_here() => Ok(ImageIdentity::tarball()),
            (Some(origin), _) => match Reference::parse(origin) {
                Ok(reference) if !ImageName::has_transport(origin) => ImageName::Docker(reference).policy_identity(),
                _ => identity_of_origin(origin),
            },
            (None, Some(reference)) => ImageName::Docker(reference.clone()).policy_identity(),
            (None, None) => Ok(ImageIdentity::tarball()),
        }
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        Ok(self.store.kept_signatures(self.record_of(manifest)).signatures.remove(manifest).unwrap_or_default())
    }

    fn bundles(&self, manifest: &Digest) -> Result<Vec<StoredBundle>> {
        Ok(self.store.kept_signatures(self.record_of(manifest)).bundles.remove(manifest).unwrap_or_default())
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        let (mut file, found) = self.open(&descriptor.digest, Some(descriptor.size))?;
        let (length, offset) = (found.length, offset.min(found.length));
        file.seek(SeekFrom::Start(offset)).map_err(|error| Error::of_reader(error, self.name(), descriptor.digest))?;
        Ok(BlobBody { reader: found.reader(file, length - offset), offset, size: Some(length) })
    }
}
