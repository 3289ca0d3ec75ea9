//! One image of a store, as a source.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use vmroot_compress::Limits;
use vmroot_model::{
    CONFIG_LIMIT, Descriptor, Digest, Document, ImageConfig, LayerCompression, MANIFEST_LIMIT, Manifest, MediaType,
    Reference, WrittenLayer,
};
use vmroot_signatures::{ImageIdentity, Signature, StorageImage};

use super::big_data::{MANIFEST, manifest_item};
use super::files::LayerFiles;
use super::find::Found;
use super::records::LayerRecord;
use super::signatures;
use super::store::{Store, Stores};
use super::tar_split::{LayerReader, TarSplit};
use crate::image_documents::ImageDocuments;
use crate::source::{BlobBody, ImageSource, RawManifest};
use crate::{Error, Result};

/// The starts of annotations about the compressed form of a layer. The plain form does not have them.
const COMPRESSION_ANNOTATIONS: [&str; 2] = ["io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz/"];

/// An image of a store.
pub(super) struct StoredImage {
    documents: ImageDocuments,
    /// The manifest as it was stored, if the layers are others.
    original: Option<RawManifest>,
    layers: HashMap<Digest, StoredLayer>,
    identity: ImageIdentity,
    /// The manifest as it was stored, and its signatures. Damaged ones are an error only if they are needed.
    signatures: Option<(Digest, std::result::Result<Vec<Signature>, String>)>,
    notes: Vec<String>,
    limits: Limits,
}

/// The location of a layer.
struct StoredLayer {
    tar_split: PathBuf,
    files: PathBuf,
    size: u64,
}

/// A layer's diff id and the length of its tar in bytes.
#[derive(Debug, Clone, Copy)]
struct PlainLayer {
    diff_id: Digest,
    size: u64,
}

impl StoredImage {
    /// Reads the documents of an image, and finds its layers.
    pub(super) fn open(
        stores: &Stores,
        (store, image): Found<'_>,
        reference: Option<&Reference>,
        limits: &Limits,
    ) -> Result<Self> {
        let name = format!("containers-storage:[{}]{}", store.path().display(), label(&image.id, reference));
        let mut layers = HashMap::new();
        let mut plain = Vec::new();
        for (store, layer) in stores.chain(image)? {
            let (stored, described) = find_layer(store, layer, limits)?;
            layers.insert(described.diff_id, stored);
            plain.push(described);
        }
        let by_digest = reference.and_then(Reference::digest).map(manifest_item);
        let stored = by_digest.filter(|item| Store::has_item(image, item));
        let by_digest_exists = stored.is_some();
        let stored = stored.map(|item| store.read_item(image, &item, MANIFEST_LIMIT)).transpose()?;
        // The digest of a list selects the image that was pulled from it, whose manifest is the default one.
        let manifest = match stored.and_then(as_manifest) {
            Some(manifest) => Some(manifest),
            None if Store::has_item(image, MANIFEST) => {
                as_manifest(store.read_item(image, MANIFEST, MANIFEST_LIMIT)?)
            }
            None => None,
        };
        let signatures = manifest.as_ref().map(|manifest| {
            let is_default = !by_digest_exists;
            let read = signatures::read(store, image, manifest.digest(), is_default);
            (*manifest.digest(), read.map_err(|error| vmroot_errors::with_causes(&error)))
        });
        let mut original = None;
        let (document, config, note) = match manifest {
            Some(manifest) => {
                let item = manifest.config().digest.to_string();
                let config = store.read_item(image, &item, CONFIG_LIMIT)?;
                let (document, note) = with_plain_layers(store, &manifest, &plain)?;
                original = note.is_some().then(|| RawManifest {
                    bytes: manifest.raw().to_vec(),
                    media_type: Some(manifest.media_type().to_string()),
                });
                (document, config, note)
            }
            // A manifest of schema 1, or none: podman made a config when it stored the image.
            None => {
                let config = find_config(store, image, plain.len())?;
                (created_manifest(&config, &plain), config, Some("the image's manifest was created anew".to_owned()))
            }
        };
        let documents = ImageDocuments::new(name, document, config);
        let notes = note.into_iter().collect();
        let identity = ImageIdentity::containers_storage(StorageImage {
            driver: store.driver_name(),
            root: store.path(),
            reference,
            id: reference.is_none().then_some(&*image.id),
        });
        Ok(Self { documents, original, layers, identity, signatures, notes, limits: *limits })
    }
}

/// Returns the text that selects an image: its reference, or its id.
fn label(id: &str, reference: Option<&Reference>) -> String {
    reference.map_or_else(|| format!("@{id}"), ToString::to_string)
}

fn find_layer(store: &Store, layer: &LayerRecord, limits: &Limits) -> Result<(StoredLayer, PlainLayer)> {
    let broken = |reason: &str| Error::member(store.path(), &format!("layer {}", layer.id), reason);
    let diff_id = layer.diff_id().ok_or_else(|| broken("has no digest of its tar (diff-digest)"))?;
    if store.is_composefs(layer) {
        return Err(broken("is stored for composefs, which is not supported"));
    }
    let (tar_split, files) = (store.tar_split(layer), store.files(layer));
    let size = match layer.size() {
        Some(size) => size,
        None => TarSplit::open(&tar_split, limits)?.size()?,
    };
    Ok((StoredLayer { tar_split, files, size }, PlainLayer { diff_id, size }))
}

/// Parses a manifest. Returns `None` for a list of manifests, and for forms that have no descriptors.
fn as_manifest(bytes: Vec<u8>) -> Option<Manifest> {
    match Document::parse(bytes, None) {
        Ok(Document::Manifest(manifest)) => Some(manifest),
        _ => None,
    }
}

/// The bytes of a manifest, and its media type.
type RawDocument = (Vec<u8>, MediaType);

/// Replaces the layers of a manifest by plain ones. The manifest stays as it is if all layers were plain. Otherwise
/// returns a note as well.
fn with_plain_layers(
    store: &Store,
    manifest: &Manifest,
    plain: &[PlainLayer],
) -> Result<(RawDocument, Option<String>)> {
    let original = manifest.layers();
    if original.len() != plain.len() {
        let reason = format!("lists {} layers, and the store has {}", original.len(), plain.len());
        return Err(Error::member(store.path(), &format!("manifest {}", manifest.digest()), reason));
    }
    let media_type = manifest.media_type().clone();
    if original.iter().zip(plain).all(|(original, plain)| original.digest == plain.diff_id) {
        return Ok(((manifest.raw().to_vec(), media_type), None));
    }
    let written: Vec<WrittenLayer> = original.iter().zip(plain).map(|(original, plain)| plain.of(original)).collect();
    let edited = manifest.with_layers(&written).map_err(|source| Error::Document {
        path: store.path().to_owned(),
        member: format!("manifest {}", manifest.digest()),
        source,
    })?;
    let note = format!(
        "the store has only uncompressed layers, so the manifest is not the original one, {}",
        manifest.digest()
    );
    Ok(((edited.manifest, media_type), Some(note)))
}

impl PlainLayer {
    fn descriptor(&self) -> Descriptor {
        Descriptor::new(MediaType::DOCKER_LAYER, self.diff_id, self.size)
    }

    /// Returns the plain form of a layer, with those annotations of the original that are not about its compression.
    fn of(&self, original: &Descriptor) -> WrittenLayer {
        let mut annotations = original.annotations.clone();
        annotations.retain(|key, _| !COMPRESSION_ANNOTATIONS.iter().any(|start| key.starts_with(start)));
        WrittenLayer { annotations, ..WrittenLayer::recompressed(self.diff_id, self.size, LayerCompression::None) }
    }
}

/// Finds the config among an image's data items: the one with as many diff ids as the image has layers.
fn find_config(store: &Store, image: &super::records::ImageRecord, layers: usize) -> Result<Vec<u8>> {
    for item in image.big_data.iter().filter(|item| Digest::parse(item).is_ok()) {
        let bytes = store.read_item(image, item, CONFIG_LIMIT)?;
        if let Ok(config) = ImageConfig::parse(bytes)
            && config.diff_ids().len() == layers
        {
            return Ok(config.raw().to_vec());
        }
    }
    let member = format!("config of {}", image.id);
    Err(Error::Missing { path: store.path().to_owned(), role: "data item", member })
}

fn created_manifest(config: &[u8], plain: &[PlainLayer]) -> RawDocument {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::DOCKER_MANIFEST,
        "config": Descriptor::of(MediaType::DOCKER_CONFIG, config),
        "layers": plain.iter().map(PlainLayer::descriptor).collect::<Vec<_>>(),
    });
    (manifest.to_string().into_bytes(), MediaType::DOCKER_MANIFEST)
}

impl fmt::Debug for StoredImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredImage").field(&self.documents.name()).finish()
    }
}

impl ImageSource for StoredImage {
    fn name(&self) -> String {
        self.documents.name().to_owned()
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        self.documents.manifest(digest)
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        if let Some(body) = self.documents.config(descriptor, offset) {
            return Ok(body);
        }
        let unknown = || self.documents.unknown(&descriptor.digest);
        let layer = self.layers.get(&descriptor.digest).ok_or_else(unknown)?;
        let split = TarSplit::open(&layer.tar_split, &self.limits)?;
        let files = LayerFiles::open(&layer.files)?;
        let offset = offset.min(layer.size);
        let reader = Box::new(LayerReader::new(split, files, offset));
        Ok(BlobBody { reader, offset, size: Some(layer.size) })
    }

    fn identity(&self) -> Result<ImageIdentity> {
        Ok(self.identity.clone())
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        match &self.signatures {
            Some((own, Ok(signatures))) if own == manifest => Ok(signatures.clone()),
            Some((own, Err(reason))) if own == manifest => {
                Err(Error::Member { path: self.name().into(), member: "signatures".to_owned(), reason: reason.clone() })
            }
            _ => Ok(Vec::new()),
        }
    }

    fn original_manifest(&self) -> Option<RawManifest> {
        self.original.clone()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
