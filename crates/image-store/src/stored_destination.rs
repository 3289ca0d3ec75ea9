//! The store as a destination of copies.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use vmroot_cache::{BlobSlot, Hold, LockName, PUBLISHED_MODE};
use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, Document, ImageConfig, MediaType, Platform, Reference};
use vmroot_output::TemporaryFile;
use vmroot_signatures::Signature;
use vmroot_transport::{
    Accepts, Admitted, BlobBody, Error, ImageDestination, ImageSource, LayerForm, ManifestPlace, NewBlob, RawManifest,
    Result, Reuse, SeenSignatures,
};

use crate::store::until_cancelled;
use crate::{Fallback, Progress, PullPolicy, PullRequest, Store};

/// The bytes that are read and written at a time.
const READ_SIZE: usize = 256 << 10;

/// A name of the store as a destination.
///
/// A commit indexes the layers and records the name, for each platform of the copied images.
pub struct StoredDestination {
    store: Store,
    reference: Reference,
    progress: Arc<dyn Progress>,
    documents: Mutex<Documents>,
    /// The signatures of the documents.
    signatures: Mutex<SeenSignatures>,
    /// The blobs of the copy. No collection removes them until the image is recorded.
    held: Mutex<HashMap<Digest, Hold>>,
}

/// The documents that a copy has written.
#[derive(Debug, Default)]
struct Documents {
    top: Option<Digest>,
    all: HashMap<Digest, RawManifest>,
}

impl std::fmt::Debug for StoredDestination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredDestination").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl Store {
    /// Returns a name of the store as a destination. Without a tag and a digest, the tag is `latest`.
    pub fn destination(&self, reference: &Reference, progress: &Arc<dyn Progress>) -> StoredDestination {
        let reference = match (reference.tag(), reference.digest()) {
            (None, None) => reference.with_tag("latest").expect("latest is a tag"),
            _ => reference.clone(),
        };
        let (store, progress) = (self.clone(), Arc::clone(progress));
        StoredDestination {
            store,
            reference,
            progress,
            documents: Mutex::default(),
            signatures: Mutex::default(),
            held: Mutex::default(),
        }
    }
}

impl StoredDestination {
    fn failed(&self, error: impl Into<crate::Error>) -> Error {
        let error = error.into();
        Error::other(self.name(), error.kind(), error)
    }

    fn documents(&self) -> std::sync::MutexGuard<'_, Documents> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signatures(&self) -> std::sync::MutexGuard<'_, SeenSignatures> {
        self.signatures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a blob, which is there or will be.
    fn hold(&self, digest: &Digest) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.contains_key(digest) {
            let hold = self.store.in_use.hold_blob(digest).map_err(|error| self.failed(error))?;
            held.insert(*digest, hold);
        }
        Ok(())
    }

    /// Writes a blob whose digest is known. A partial blob of an earlier copy is not continued, because the reader starts
    /// at the first byte.
    fn put_known(&self, digest: &Digest, size: u64, blob: &mut NewBlob<'_>) -> Result<()> {
        self.hold(digest)?;
        let room = self.store.make_room(size, &self.name(), &self.progress);
        room.map_err(|error| self.failed(error))?;
        let slot = self.store.cache.open_writer(digest, size, &mut until_cancelled(&self.store.options().cancel));
        let BlobSlot::Absent(mut writer) = slot.map_err(|error| self.failed(error))? else {
            return self.each_piece(blob, |_| Ok(()));
        };
        writer.restart().map_err(|error| self.failed(error))?;
        self.each_piece(blob, |piece| writer.append(piece).map_err(|error| self.failed(error)))?;
        writer.commit().map(drop).map_err(|error| self.failed(error))
    }

    /// Writes a blob whose digest is known at its end.
    fn put_unknown(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        self.store.cache.check_writable().map_err(|error| self.failed(error))?;
        let directory = self.store.cache.layout().blobs(vmroot_model::Algorithm::Sha256);
        let file = TemporaryFile::create_in(&directory, 0o600)
            .map_err(|error| self.failed(vmroot_cache::Error::from(error)))?;
        self.each_piece(blob, |piece| {
            let written = file.file().write_all(piece);
            written.map_err(|source| Error::Io { action: "write", path: file.path().to_owned(), source })
        })?;
        let digest = blob.digest().expect("the blob was read to its end");
        self.hold(&digest)?;
        let lock = self.store.lock(&LockName::Blob(digest), &*self.progress);
        let _lock = lock.map_err(|error| self.failed(error))?;
        let target = self.store.cache.layout().blob(&digest);
        file.publish(&target, Some(PUBLISHED_MODE)).map_err(|error| self.failed(vmroot_cache::Error::from(error)))
    }

    /// Reads a blob to its end.
    fn each_piece(&self, blob: &mut NewBlob<'_>, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            match blob.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => take(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(blob.read_error(error, self.name())),
            }
        }
    }

    /// Returns the platforms of the images among the copied documents.
    fn platforms(&self) -> Vec<Platform> {
        let mut platforms = Vec::new();
        for raw in self.documents().all.values() {
            let parsed = Document::parse(raw.bytes.clone(), raw.media_type.as_deref());
            let Ok(Document::Manifest(manifest)) = parsed else { continue };
            if !manifest.is_image() {
                continue;
            }
            let config = self.store.read_document(&manifest.config().digest, CONFIG_LIMIT).map(ImageConfig::parse);
            if let Some(Ok(config)) = config
                // Attestations are for no platform.
                && config.platform().os != "unknown"
                && !platforms.contains(config.platform())
            {
                platforms.push(config.platform().clone());
            }
        }
        platforms
    }
}

impl ImageDestination for StoredDestination {
    fn name(&self) -> String {
        format!("vmroot:{}", self.reference)
    }

    fn accepts(&self) -> Accepts {
        Accepts {
            documents: MediaType::DOCUMENTS.to_vec(),
            layers: LayerForm::Keep,
            foreign_layers: false,
            digest: self.reference.digest().copied(),
        }
    }

    fn blob_scope(&self) -> String {
        self.store.directory().display().to_string()
    }

    fn reuse_blob(&self, blob: &Descriptor, _origins: &[Reference]) -> Result<Reuse> {
        self.hold(&blob.digest)?;
        let found = self.store.find_blob(&blob.digest, Some(blob.size)).map_err(|error| self.failed(error))?;
        Ok(if found.is_some_and(|it| it.length == blob.size) { Reuse::Present } else { Reuse::Absent })
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        match (blob.digest(), blob.size()) {
            (Some(digest), Some(size)) => self.put_known(&digest, size, blob),
            _ => self.put_unknown(blob),
        }
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        let digest = Digest::of(bytes);
        self.hold(&digest)?;
        let written = self.store.write_document(&digest, bytes, &*self.progress);
        written.map_err(|error| self.failed(error))?;
        let raw = RawManifest { bytes: bytes.to_vec(), media_type: Some(media_type.to_string()) };
        let mut documents = self.documents();
        documents.all.insert(digest, raw);
        if place == ManifestPlace::Top {
            documents.top = Some(digest);
        }
        Ok(())
    }

    fn signatures_refusal(&self) -> Option<String> {
        None
    }

    fn put_signatures(&self, manifest: &Digest, _place: ManifestPlace, signatures: &[Signature]) -> Result<()> {
        self.signatures().signatures.insert(*manifest, signatures.to_vec());
        Ok(())
    }

    fn note_admitted(&self, admitted: &Admitted) {
        self.signatures().merge(&admitted.seen);
    }

    /// Indexes the layers of each image, and records its name.
    fn commit(&self) -> Result<()> {
        let platforms = self.platforms();
        if platforms.is_empty() {
            let (place, media_type) = (self.name(), "no image".to_owned());
            let reason = "the cache holds images only, no other artifacts".to_owned();
            return Err(Error::Refused { place, media_type, reason });
        }
        for platform in platforms {
            let request = PullRequest {
                references: vec![self.reference.clone()],
                platform,
                policy: PullPolicy::Always,
                fallback: Fallback::Single,
                loaded_from: None,
                // The copier has asked.
                admission: None,
                signatures: self.signatures().clone(),
            };
            self.store.pull(&Written(self), &request, &self.progress).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}

/// The blobs that a copy has written, as a source.
#[derive(Debug)]
struct Written<'a>(&'a StoredDestination);

impl ImageSource for Written<'_> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        let documents = self.0.documents();
        let found = digest.or(documents.top.as_ref()).and_then(|digest| documents.all.get(digest));
        let unknown = || Error::Unknown { place: self.name(), digest: digest.copied().unwrap_or(Digest::of(b"")) };
        found.cloned().ok_or_else(unknown)
    }

    fn blob(&self, descriptor: &Descriptor, _offset: u64) -> Result<BlobBody> {
        // The pull finds the blobs of the copy in the cache and does not ask for them.
        Err(Error::Unknown { place: self.name(), digest: descriptor.digest })
    }
}
