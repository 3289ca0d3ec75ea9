//! OCI manifests to Docker's schema 2.

use std::collections::BTreeMap;

use crate::convert::{Converted, Loss, ManifestFormat, WrittenLayer, layers, loss};
use crate::{Manifest, MediaType, NewManifest, Result};

const FORMAT: ManifestFormat = ManifestFormat::Schema2;

/// Converts an OCI manifest. The config keeps its bytes.
pub(super) fn from_oci(manifest: &Manifest, layers: &[WrittenLayer]) -> Result<Converted> {
    if !manifest.config().media_type.is_config() {
        let reason = format!(
            "it is no image: its config is of type {:?}; only OCI manifests can hold artifacts",
            manifest.config().media_type.as_str()
        );
        return Err(manifest.not_convertible(FORMAT, reason));
    }
    let mut losses = manifest_losses(manifest);
    // The types are OCI's until a zstd layer has become gzip.
    let written = layers::written(manifest, manifest.layers(), layers, FORMAT, &mut losses)?;
    for layer in written.iter().filter(|it| !it.annotations.is_empty()) {
        losses.push(Loss::LayerAnnotations { layer: layer.digest, keys: keys(&layer.annotations) });
    }
    let layers = layers::renamed(manifest, &written, FORMAT)?;
    let mut config = manifest.config().clone();
    config.media_type = MediaType::DOCKER_CONFIG;
    let document = NewManifest::schema2(config, layers);
    Ok(Converted {
        manifest: document.to_bytes(),
        media_type: document.media_type(),
        config: None,
        extra_blobs: Vec::new(),
        losses,
    })
}

/// Returns the parts of a manifest outside its layers that schema 2 does not have.
fn manifest_losses(manifest: &Manifest) -> Vec<Loss> {
    let mut losses = Vec::new();
    if !manifest.annotations().is_empty() {
        losses.push(Loss::ManifestAnnotations { keys: keys(manifest.annotations()) });
    }
    if !manifest.config().annotations.is_empty() {
        losses.push(Loss::ConfigAnnotations { keys: keys(&manifest.config().annotations) });
    }
    if let Some(subject) = manifest.subject() {
        losses.push(Loss::Subject { digest: subject.digest });
    }
    if let Some(artifact_type) = manifest.artifact_type().filter(|it| !it.is_empty()) {
        losses.push(Loss::ArtifactType { artifact_type: artifact_type.to_string() });
    }
    losses.extend(loss::unknown_members(manifest));
    losses
}

fn keys(annotations: &BTreeMap<String, String>) -> Vec<String> {
    annotations.keys().cloned().collect()
}
