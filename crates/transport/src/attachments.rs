//! The sigstore attachments of an image: a manifest whose layers are the signed payloads (sigstore/cosign,
//! specs/SIGNATURE_SPEC.md).

use serde_json::{Value, json};
use vmroot_model::{Descriptor, Digest, Manifest, MediaType};
use vmroot_signatures::Signature;

/// Returns the tag of the sigstore attachments of a manifest.
pub(crate) fn attachment_tag(manifest: &Digest) -> String {
    format!("{}-{}.sig", manifest.algorithm().name(), manifest.hex())
}

/// Returns the layer of a signature and its bytes, if it is one that attachments hold.
pub(crate) fn layer_of(signature: &Signature) -> Option<(Descriptor, &[u8])> {
    let Signature::Sigstore { mime_type, payload, annotations } = signature else { return None };
    let mut layer = Descriptor::of(MediaType::new(mime_type), payload);
    layer.annotations.clone_from(annotations);
    Some((layer, payload))
}

/// The manifest of the sigstore attachments of an image, and its config.
pub(crate) struct Attachments {
    layers: Vec<Descriptor>,
    annotations: Value,
    config: Value,
}

impl Attachments {
    /// Returns a manifest without layers.
    pub(crate) fn new() -> Self {
        let config = json!({
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        Self { layers: Vec::new(), annotations: Value::Null, config }
    }

    /// Takes over a manifest with its config. A config that is not JSON is replaced.
    pub(crate) fn of(manifest: &Manifest, config: &[u8]) -> Self {
        let new = Self::new();
        let config = serde_json::from_slice(config).ok().filter(Value::is_object).unwrap_or(new.config);
        let annotations = match manifest.annotations().is_empty() {
            true => Value::Null,
            false => json!(manifest.annotations()),
        };
        Self { layers: manifest.layers().to_vec(), annotations, config }
    }

    /// Returns the config and its descriptor.
    pub(crate) fn config(&self) -> (Descriptor, Vec<u8>) {
        let config = self.config.to_string().into_bytes();
        (Descriptor::of(MediaType::OCI_CONFIG, &config), config)
    }

    /// Adds a layer, and returns whether it is new.
    pub(crate) fn add(&mut self, layer: &Descriptor) -> bool {
        let is_same = |other: &Descriptor| {
            other.digest == layer.digest
                && other.media_type == layer.media_type
                && other.annotations == layer.annotations
        };
        if self.layers.iter().any(is_same) {
            return false;
        }
        self.layers.push(layer.clone());
        let ids: Vec<String> = self.layers.iter().map(|layer| layer.digest.to_string()).collect();
        self.config["rootfs"] = json!({"type": "layers", "diff_ids": ids});
        true
    }

    /// Returns the bytes of the manifest. `config` is the descriptor of [`Self::config`].
    pub(crate) fn manifest(&self, config: &Descriptor) -> Vec<u8> {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": config,
            "layers": self.layers,
        });
        if !self.annotations.is_null() {
            manifest["annotations"] = self.annotations.clone();
        }
        manifest.to_string().into_bytes()
    }
}
