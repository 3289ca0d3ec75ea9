//! Layers as a copy wrote them, and their descriptors.

use std::collections::BTreeMap;

use crate::convert::{Loss, ManifestFormat};
use crate::{Descriptor, Digest, Error, LayerCompression, Manifest, MediaType, Result};

/// The prefix of the annotations that describe the chunks of a zstd:chunked layer.
const ZSTD_CHUNKED: &str = "io.github.containers.zstd-chunked.";
/// The annotation with the digest of the table of contents of an eStargz layer.
const STARGZ: &str = "containerd.io/snapshot/stargz/toc.digest";

/// A layer as it is in the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLayer {
    /// The digest. If it is that of the source's layer, the layer is unchanged, and the next two fields do not count.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// The compression, if it is known. If not, the media type stays that of the source.
    pub compression: Option<LayerCompression>,
    /// The annotations of a changed layer, such as those of zstd:chunked. They replace all annotations of the source,
    /// which may describe the old bytes.
    pub annotations: BTreeMap<String, String>,
    /// The digest of the uncompressed layer. Only conversions from schema 1 need it.
    pub diff_id: Option<Digest>,
}

impl WrittenLayer {
    /// Creates a layer that is unchanged.
    pub fn unchanged(layer: &Descriptor) -> Self {
        Self { digest: layer.digest, size: layer.size, compression: None, annotations: BTreeMap::new(), diff_id: None }
    }

    /// Creates a layer with another compression.
    pub fn recompressed(digest: Digest, size: u64, compression: LayerCompression) -> Self {
        Self { digest, size, compression: Some(compression), annotations: BTreeMap::new(), diff_id: None }
    }
}

/// Returns `old`, the layers of the manifest, with the digests, sizes, types and annotations of the layers as they were
/// written, and lists the losses of the layers.
///
/// # Errors
/// [`Error::Conversion`] for another number of layers, or a type that cannot have the compression of its layer.
pub(super) fn written(
    manifest: &Manifest,
    old: &[Descriptor],
    layers: &[WrittenLayer],
    format: ManifestFormat,
    losses: &mut Vec<Loss>,
) -> Result<Vec<Descriptor>> {
    if old.len() != layers.len() {
        let reason = format!("it has {} layers, but {} were written", old.len(), layers.len());
        return Err(manifest.not_convertible(format, reason));
    }
    let pairs = old.iter().zip(layers);
    pairs.map(|(old, new)| written_layer(old, new, losses).map_err(|it| manifest.not_convertible(format, it))).collect()
}

fn written_layer(
    old: &Descriptor,
    new: &WrittenLayer,
    losses: &mut Vec<Loss>,
) -> std::result::Result<Descriptor, String> {
    if old.digest == new.digest {
        return Ok(old.clone());
    }
    let media_type = match new.compression {
        Some(compression) => old.media_type.with_compression(compression).ok_or_else(|| {
            format!("layer {} of type {:?} cannot become {compression}", old.digest, old.media_type.as_str())
        })?,
        None => old.media_type.clone(),
    };
    let lost = old.annotations.keys().filter(|key| !describes_bytes(key) && !new.annotations.contains_key(*key));
    let lost: Vec<String> = lost.cloned().collect();
    if !lost.is_empty() {
        losses.push(Loss::LayerAnnotations { layer: old.digest, keys: lost });
    }
    Ok(Descriptor { annotations: new.annotations.clone(), ..Descriptor::new(media_type, new.digest, new.size) })
}

/// Returns whether an annotation is about the compressed bytes, so that it means nothing for others.
fn describes_bytes(key: &str) -> bool {
    key.starts_with(ZSTD_CHUNKED) || key == STARGZ
}

/// Gives all layers the types of another format.
///
/// # Errors
/// [`Error::Conversion`] for a type that has no counterpart.
pub(super) fn renamed(manifest: &Manifest, layers: &[Descriptor], format: ManifestFormat) -> Result<Vec<Descriptor>> {
    layers.iter().map(|layer| renamed_layer(manifest, layer, format)).collect()
}

fn renamed_layer(manifest: &Manifest, layer: &Descriptor, format: ManifestFormat) -> Result<Descriptor> {
    let refused = |reason: &str| -> Error {
        let reason = format!("layer {} of type {:?} {reason}", layer.digest, layer.media_type.as_str());
        manifest.not_convertible(format, reason)
    };
    if layer.media_type.is_encrypted_layer() {
        return Err(refused("is encrypted, which only OCI manifests allow"));
    }
    let media_type: Option<MediaType> = match format {
        ManifestFormat::Oci => layer.media_type.to_oci_layer(),
        ManifestFormat::Schema2 | ManifestFormat::Schema1 => {
            if layer.media_type.layer_compression() == Some(LayerCompression::Zstd) {
                return Err(refused(
                    "is compressed with zstd, which only OCI manifests allow; recompress it with gzip",
                ));
            }
            layer.media_type.to_docker_layer()
        }
    };
    let media_type = media_type.ok_or_else(|| refused("is no layer of an image"))?;
    Ok(Descriptor { media_type, ..layer.clone() })
}
