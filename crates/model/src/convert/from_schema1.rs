//! Docker's schema 1 to newer formats, and schema 1 with other layers.

use serde::Serialize;

use crate::convert::oci_config::OciConfig;
use crate::convert::{Converted, EncryptionChange, Loss, ManifestFormat, WrittenLayer, legacy_config};
use crate::error::DocumentKind;
use crate::json_text::{RawObject, to_vec};
use crate::schema1::sign;
use crate::{
    Descriptor, Digest, Error, ImageConfig, LayerCompression, MediaType, NewManifest, Reference, Result, Schema1,
    Schema1Layer, go_time,
};

/// Members of a step that are not part of a config.
const STEP_MEMBERS: [&str; 6] = ["id", "parent", "parent_id", "layer_id", "throwaway", "Size"];

impl Schema1 {
    /// Returns the layers that the image has in a format, the base first. Newer formats have no empty layers.
    pub fn layers_in(&self, format: ManifestFormat) -> Vec<&Schema1Layer> {
        self.layers().iter().filter(|it| format == ManifestFormat::Schema1 || !it.is_empty()).collect()
    }

    /// Converts the image to an OCI manifest or to Docker's schema 2. The config is put together from the steps.
    ///
    /// `layers` are those of [`Self::layers_in`] with their diff ids. A layer without a known compression counts as
    /// gzip, the only one of schema 1.
    ///
    /// # Errors
    /// - [`Error::Conversion`] for another number of layers, a layer without a diff id, zstd in schema 2, and
    ///   [`ManifestFormat::Schema1`], which [`Self::with_layers`] makes.
    /// - The errors of [`ImageConfig::parse`] for the steps.
    pub fn convert(&self, format: ManifestFormat, layers: &[WrittenLayer]) -> Result<Converted> {
        if format == ManifestFormat::Schema1 {
            return self.with_layers(layers, None);
        }
        self.check_count(format, layers)?;
        let mut diff_ids = Vec::with_capacity(layers.len());
        for layer in layers {
            let missing = || self.not_convertible(format, format!("layer {} has no diff id", layer.digest));
            diff_ids.push(layer.diff_id.ok_or_else(missing)?);
        }
        let config = ImageConfig::parse(self.full_config(&diff_ids)?)?;
        let mut losses = vec![Loss::Schema1Members];
        let (config, config_type, stem) = match format {
            ManifestFormat::Oci => {
                let (config, lost) = OciConfig::convert(&config)?;
                losses.extend(lost);
                (config, MediaType::OCI_CONFIG, MediaType::OCI_LAYER)
            }
            _ => (config.raw().to_vec(), MediaType::DOCKER_CONFIG, MediaType::DOCKER_LAYER),
        };
        let descriptors = layers.iter().map(|layer| {
            let compression = layer.compression.unwrap_or(LayerCompression::Gzip);
            let media_type = stem.with_compression(compression).ok_or_else(|| {
                self.not_convertible(format, format!("layer {} cannot be compressed with {compression}", layer.digest))
            })?;
            let media_type = match layer.encryption {
                Some(EncryptionChange::Encrypted) => media_type.to_encrypted_layer().ok_or_else(|| {
                    self.not_convertible(format, format!("layer {} cannot be encrypted", layer.digest))
                })?,
                _ => media_type,
            };
            let annotations = layer.annotations.clone();
            Ok(Descriptor { annotations, ..Descriptor::new(media_type, layer.digest, layer.size) })
        });
        let descriptors = descriptors.collect::<Result<Vec<_>>>()?;
        let config_descriptor = Descriptor::of(config_type, &config);
        let document = match format {
            ManifestFormat::Oci => NewManifest::oci(config_descriptor, descriptors),
            _ => NewManifest::schema2(config_descriptor, descriptors),
        };
        Ok(Converted {
            manifest: document.to_bytes(),
            media_type: document.media_type(),
            config: Some(config),
            extra_blobs: Vec::new(),
            losses,
        })
    }

    /// Returns the manifest with `layers`, all of them, in place of its layers. With `name`, it has this repository and
    /// tag; registries refuse a manifest with another name. If anything changes, it is signed with a new key.
    ///
    /// # Errors
    /// - [`Error::Conversion`] for another number of layers, or zstd.
    /// - [`Error::Signing`] if the system has no random numbers.
    pub fn with_layers(&self, layers: &[WrittenLayer], name: Option<&Reference>) -> Result<Converted> {
        let format = ManifestFormat::Schema1;
        self.check_count(format, layers)?;
        if let Some(zstd) = layers.iter().find(|it| it.compression == Some(LayerCompression::Zstd)) {
            let reason = format!("layer {} cannot be compressed with zstd", zstd.digest);
            return Err(self.not_convertible(format, reason));
        }
        let (name, tag) = match name {
            Some(name) => (name.path(), name.tag().unwrap_or_default()),
            None => (self.name(), self.tag()),
        };
        let same_layers = self.layers().iter().zip(layers).all(|(old, new)| *old.digest() == new.digest);
        let unchanged = same_layers && (name, tag) == (self.name(), self.tag());
        let (manifest, media_type) = if unchanged {
            (self.raw().to_vec(), self.media_type())
        } else {
            let steps = self.layers().iter().zip(layers).map(|(old, new)| (new.digest, old.v1_compatibility()));
            (signed_manifest(name, tag, self.architecture(), steps.collect())?, format.media_type())
        };
        Ok(Converted { manifest, media_type, config: None, extra_blobs: Vec::new(), losses: Vec::new() })
    }

    /// Returns the config of schema 2: the newest step without its ids, with a history and diff ids.
    fn full_config(&self, diff_ids: &[Digest]) -> Result<Vec<u8>> {
        let newest = serde_json::from_str(self.newest());
        let mut config: RawObject = newest.map_err(|error| Error::InvalidDocument {
            document: DocumentKind::Manifest,
            digest: *self.digest(),
            reason: error.to_string(),
        })?;
        if legacy_config::is_legacy(&config) {
            config = legacy_config::completed(&config);
        }
        for name in STEP_MEMBERS {
            config.remove(name);
        }
        config.set("rootfs", &RootFs { kind: "layers", diff_ids });
        config.set("history", &self.layers().iter().map(HistoryEntry::new).collect::<Vec<_>>());
        config.sort();
        Ok(to_vec(&config))
    }

    fn check_count(&self, format: ManifestFormat, layers: &[WrittenLayer]) -> Result<()> {
        let expected = self.layers_in(format).len();
        if layers.len() != expected {
            let reason =
                format!("it has {}, but {} were written", vmroot_errors::counted(expected, "layer"), layers.len());
            return Err(self.not_convertible(format, reason));
        }
        Ok(())
    }

    fn not_convertible(&self, format: ManifestFormat, reason: String) -> Error {
        Error::Conversion { digest: *self.digest(), format: format.to_string(), reason }
    }
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    diff_ids: &'a [Digest],
}

/// A step in a config of schema 2.
#[derive(Serialize)]
struct HistoryEntry<'a> {
    created: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

impl<'a> HistoryEntry<'a> {
    fn new(layer: &'a Schema1Layer) -> Self {
        Self {
            created: go_time::or_zero(layer.created()),
            author: layer.author(),
            created_by: layer.created_by(),
            comment: layer.comment(),
            empty_layer: layer.is_empty(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewSchema1<'a> {
    name: &'a str,
    tag: &'a str,
    architecture: &'a str,
    fs_layers: Vec<FsLayer>,
    history: Vec<History<'a>>,
    schema_version: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FsLayer {
    blob_sum: Digest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History<'a> {
    v1_compatibility: &'a str,
}

/// Writes and signs a schema 1 manifest. `steps` are the layers and their JSON texts, the base first.
pub(super) fn signed_manifest(
    name: &str,
    tag: &str,
    architecture: &str,
    steps: Vec<(Digest, &str)>,
) -> Result<Vec<u8>> {
    let (fs_layers, history) = steps
        .into_iter()
        .rev()
        .map(|(blob_sum, v1_compatibility)| (FsLayer { blob_sum }, History { v1_compatibility }))
        .unzip();
    sign(&to_vec(&NewSchema1 { name, tag, architecture, fs_layers, history, schema_version: 1 }))
}
