//! Builds an image from layers.

use serde_json::{Map, Value, json};
use vmroot_model::Digest;

use super::{Compression, Document, Image, LayerBlob, platform, to_json};
use crate::layer::{Encoding, Layer};

/// The family of media types that an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// OCI image-spec.
    #[default]
    Oci,
    /// Docker schema 2.
    Docker,
}

impl Format {
    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn layer(self, compression: Compression) -> String {
        let (stem, separator) = match self {
            Self::Oci => ("application/vnd.oci.image.layer.v1.tar", "+"),
            Self::Docker => ("application/vnd.docker.image.rootfs.diff.tar", "."),
        };
        if compression == Compression::None {
            stem.into()
        } else {
            format!("{stem}{separator}{}", compression.suffix())
        }
    }
}

/// Builds an image. Each setter returns the changed builder.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    format: Format,
    platform: String,
    compression: Compression,
    layers: Vec<(Vec<u8>, Compression)>,
    /// The members of the config's `config` object.
    settings: Map<String, Value>,
    /// Members that replace those of the config.
    config_members: Map<String, Value>,
    /// Members that replace those of the manifest.
    manifest_members: Map<String, Value>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// Returns a builder of an OCI image for linux/amd64 without layers. Added layers are compressed with gzip.
    pub fn new() -> Self {
        Self {
            format: Format::Oci,
            platform: "linux/amd64".into(),
            compression: Compression::Gzip,
            layers: Vec::new(),
            settings: Map::new(),
            config_members: Map::new(),
            manifest_members: Map::new(),
        }
    }

    /// Sets the media types.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the platform: `os/architecture` or `os/architecture/variant`.
    pub fn platform(mut self, platform: &str) -> Self {
        self.platform = platform.into();
        self
    }

    /// Sets the compression of the layers that are added later.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Adds a layer on top.
    pub fn layer(self, layer: &Layer) -> Self {
        self.layer_tar(layer.to_tar(&Encoding::default()))
    }

    /// Adds these layers on top, lowest first.
    pub fn layers<'a>(self, layers: impl IntoIterator<Item = &'a Layer>) -> Self {
        layers.into_iter().fold(self, Self::layer)
    }

    /// Adds a layer on top, given as a tar.
    pub fn layer_tar(mut self, tar: Vec<u8>) -> Self {
        self.layers.push((tar, self.compression));
        self
    }

    /// Sets a member of the config's `config` object, such as `Env` or `Entrypoint`.
    pub fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// Replaces a member of the config with any value, even an invalid one.
    pub fn config_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.config_members.insert(name.into(), value.into());
        self
    }

    /// Replaces a member of the manifest with any value, even an invalid one.
    pub fn manifest_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.manifest_members.insert(name.into(), value.into());
        self
    }

    /// Returns the image.
    pub fn build(self) -> Image {
        let layers: Vec<LayerBlob> =
            self.layers.iter().map(|(tar, compression)| self.blob(tar, *compression)).collect();
        let config = to_json(&self.config(&layers));
        let config_digest = Digest::of(&config);
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| {
                json!({
                    "mediaType": layer.media_type,
                    "digest": layer.digest.to_string(),
                    "size": layer.bytes.len(),
                })
            })
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.format.manifest(),
            "config": {
                "mediaType": self.format.config(),
                "digest": config_digest.to_string(),
                "size": config.len(),
            },
            "layers": descriptors,
        });
        replace_members(&mut manifest, self.manifest_members);
        let bytes = to_json(&manifest);
        let manifest = Document { digest: Digest::of(&bytes), media_type: self.format.manifest().into(), bytes };
        Image { layers, config_digest, config, manifest, platform: self.platform }
    }

    fn blob(&self, tar: &[u8], compression: Compression) -> LayerBlob {
        let bytes = compression.compress(tar);
        LayerBlob {
            diff_id: Digest::of(tar),
            tar: tar.to_vec(),
            media_type: self.format.layer(compression),
            digest: Digest::of(&bytes),
            bytes,
        }
    }

    fn config(&self, layers: &[LayerBlob]) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let history =
            |number: usize| json!({ "created": "2024-01-02T03:04:05Z", "created_by": format!("layer {number}") });
        let mut config = json!({
            "created": "2024-01-02T03:04:05.678Z",
            "config": self.settings,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": (0..layers.len()).map(history).collect::<Vec<_>>(),
        });
        replace_members(&mut config, platform(&self.platform));
        replace_members(&mut config, self.config_members.clone());
        config
    }
}

pub(super) fn replace_members(object: &mut Value, members: Map<String, Value>) {
    object.as_object_mut().expect("made as an object").extend(members);
}
