//! One image of a store, as a source.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value};
use vmroot_compress::Limits;
use vmroot_model::{
    CONFIG_LIMIT, Descriptor, Digest, Document, ImageConfig, MANIFEST_LIMIT, Manifest, MediaType, Reference,
};

use super::big_data::{MANIFEST, manifest_item};
use super::files::LayerFiles;
use super::find::Found;
use super::records::LayerRecord;
use super::store::{Store, Stores};
use super::tar_split::{LayerReader, TarSplit};
use crate::image_documents::ImageDocuments;
use crate::source::{BlobBody, ImageSource, RawManifest};
use crate::{Error, Result};

/// The starts of annotations about the compressed form of a layer. The plain form does not have them.
const COMPRESSION_ANNOTATIONS: [&str; 2] = ["io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz/"];

/// The field of a descriptor with annotations.
const ANNOTATIONS: &str = "annotations";

/// An image of a store.
pub(super) struct StoredImage {
    documents: ImageDocuments,
    layers: HashMap<Digest, StoredLayer>,
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
        let stored = stored.map(|item| store.read_item(image, &item, MANIFEST_LIMIT)).transpose()?;
        // The digest of a list selects the image that was pulled from it, whose manifest is the default one.
        let manifest = match stored.and_then(as_manifest) {
            Some(manifest) => Some(manifest),
            None if Store::has_item(image, MANIFEST) => {
                as_manifest(store.read_item(image, MANIFEST, MANIFEST_LIMIT)?)
            }
            None => None,
        };
        let (document, config, note) = match manifest {
            Some(manifest) => {
                let item = manifest.config().digest.to_string();
                let config = store.read_item(image, &item, CONFIG_LIMIT)?;
                let (document, note) = with_plain_layers(store, &manifest, &plain)?;
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
        Ok(Self { documents, layers, notes, limits: *limits })
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
    let mut document: Map<String, Value> =
        serde_json::from_slice(manifest.raw()).expect("a parsed manifest is a JSON object");
    let layers = document.get_mut("layers").and_then(Value::as_array_mut);
    for (layer, plain) in layers.into_iter().flatten().zip(plain) {
        *layer = plain.describe(media_type.is_docker(), layer.get(ANNOTATIONS));
    }
    let note = format!(
        "the store has only uncompressed layers, so the manifest is not the original one, {}",
        manifest.digest()
    );
    let bytes = serde_json::to_vec(&document).expect("the fields came from JSON");
    Ok(((bytes, media_type), Some(note)))
}

impl PlainLayer {
    /// Returns a descriptor with those annotations of the original that are not about its compression.
    fn describe(&self, is_docker: bool, annotations: Option<&Value>) -> Value {
        let media_type = if is_docker { MediaType::DOCKER_LAYER } else { MediaType::OCI_LAYER };
        let descriptor = Descriptor::new(media_type, self.diff_id, self.size);
        let mut descriptor = serde_json::to_value(descriptor).expect("descriptors are plain data");
        let mut annotations = annotations.and_then(Value::as_object).cloned().unwrap_or_default();
        annotations.retain(|key, _| !COMPRESSION_ANNOTATIONS.iter().any(|start| key.starts_with(start)));
        if !annotations.is_empty() {
            descriptor[ANNOTATIONS] = Value::Object(annotations);
        }
        descriptor
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
        "layers": plain.iter().map(|layer| layer.describe(true, None)).collect::<Vec<_>>(),
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

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
