//! Images whose config and manifest are created here, because their source has none.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;
use vmroot_model::{Descriptor, Digest, History, MediaType, Platform};

use crate::Result;
use crate::image_documents::ImageDocuments;
use crate::section::Section;
use crate::source::{BlobBody, ImageSource, RawManifest};

/// An image with a created OCI config and OCI manifest.
pub(crate) struct CreatedImage {
    documents: ImageDocuments,
    layers: HashMap<Digest, Section>,
    notes: Vec<String>,
}

/// A layer of a created image.
pub(crate) struct CreatedLayer {
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: Digest,
    pub(crate) section: Section,
}

/// The parts of a config that are not about layers.
pub(crate) struct CreatedConfig {
    pub(crate) created: String,
    pub(crate) platform: Platform,
    pub(crate) cmd: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) history: Vec<History>,
}

/// The fields of a config (OCI image-spec, config.md), in the order of the specification's example.
#[derive(Serialize)]
struct ConfigDocument<'a> {
    created: &'a str,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: &'a str,
    config: RunConfig<'a>,
    rootfs: RootFs<'a>,
    history: &'a [History],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<&'a Digest>,
}

/// The fields of a manifest (OCI image-spec, manifest.md).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument<'a> {
    schema_version: u32,
    media_type: MediaType,
    config: Descriptor,
    layers: Vec<&'a Descriptor>,
}

impl CreatedImage {
    /// Creates the documents of an image. The base layer is the first. `name` is the name of the source.
    pub(crate) fn new(name: String, config: &CreatedConfig, layers: Vec<CreatedLayer>) -> Self {
        let document = ConfigDocument {
            created: &config.created,
            architecture: &config.platform.architecture,
            variant: config.platform.variant.as_deref(),
            os: &config.platform.os,
            config: RunConfig { cmd: &config.cmd, labels: &config.labels },
            rootfs: RootFs { kind: "layers", diff_ids: layers.iter().map(|layer| &layer.diff_id).collect() },
            history: &config.history,
        };
        let config = serde_json::to_vec(&document).expect("strings and digests are plain data");
        let manifest = ManifestDocument {
            schema_version: 2,
            media_type: MediaType::OCI_MANIFEST,
            config: Descriptor::of(MediaType::OCI_CONFIG, &config),
            layers: layers.iter().map(|layer| &layer.descriptor).collect(),
        };
        let manifest = serde_json::to_vec(&manifest).expect("descriptors are plain data");
        let layers = layers.into_iter().map(|layer| (layer.descriptor.digest, layer.section)).collect();
        let documents = ImageDocuments::new(name, (manifest, MediaType::OCI_MANIFEST), config);
        Self { documents, layers, notes: Vec::new() }
    }

    /// Sets the notes for the user of a copy.
    pub(crate) fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }
}

impl fmt::Debug for CreatedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CreatedImage").field(&self.documents.name()).finish()
    }
}

impl ImageSource for CreatedImage {
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
        let section = self.layers.get(&descriptor.digest).cloned();
        Ok(section.ok_or_else(|| self.documents.unknown(&descriptor.digest))?.into_body(offset))
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}
