//! Layers as a copy wrote them, and their descriptors.

use std::collections::BTreeMap;

use crate::convert::{Loss, ManifestFormat};
use crate::{Descriptor, Digest, Error, LayerCompression, Manifest, MediaType, Result};

/// The prefix of the annotations that describe the chunks of a zstd:chunked layer.
const ZSTD_CHUNKED: &str = "io.github.containers.zstd-chunked.";
/// The annotation with the digest of the table of contents of an eStargz layer.
const STARGZ: &str = "containerd.io/snapshot/stargz/toc.digest";
/// The prefix of the annotations of encrypted layers (ocicrypt, spec/spec.go).
const ENCRYPTION: &str = "org.opencontainers.image.enc.";

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
    /// Whether the layer was encrypted or decrypted. Its annotations then stay, except those about the encryption and
    /// those that describe the plain bytes.
    pub encryption: Option<EncryptionChange>,
}

/// A change of the encryption of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncryptionChange {
    /// The layer was plain and is encrypted now.
    Encrypted,
    /// The layer was encrypted and is plain now.
    Decrypted,
}

impl WrittenLayer {
    /// Creates a layer that is unchanged.
    pub fn unchanged(layer: &Descriptor) -> Self {
        let (digest, size) = (layer.digest, layer.size);
        Self { digest, size, compression: None, annotations: BTreeMap::new(), diff_id: None, encryption: None }
    }

    /// Creates a layer with another compression.
    pub fn recompressed(digest: Digest, size: u64, compression: LayerCompression) -> Self {
        let compression = Some(compression);
        Self { digest, size, compression, annotations: BTreeMap::new(), diff_id: None, encryption: None }
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
        let reason =
            format!("it has {}, but {} were written", vmroot_errors::counted(old.len(), "layer"), layers.len());
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
    // The ciphertext of an empty blob is empty, too.
    if old.digest == new.digest && new.encryption.is_none() {
        return Ok(old.clone());
    }
    let media_type = written_type(&old.media_type, new).ok_or_else(|| {
        let change = match (new.encryption, new.compression) {
            (Some(EncryptionChange::Encrypted), _) => "encrypted".to_owned(),
            (Some(EncryptionChange::Decrypted), _) => "decrypted".to_owned(),
            (None, compression) => compression.map(|it| it.to_string()).unwrap_or_default(),
        };
        format!("layer {} of type {:?} cannot become {change}", old.digest, old.media_type.as_str())
    })?;
    let mut annotations = kept_annotations(old, new);
    annotations.extend(new.annotations.clone());
    let lost = old.annotations.keys().filter(|key| !describes_bytes(key) && !annotations.contains_key(*key));
    let lost: Vec<String> = lost.cloned().collect();
    if !lost.is_empty() {
        losses.push(Loss::LayerAnnotations { layer: old.digest, keys: lost });
    }
    Ok(Descriptor { annotations, ..Descriptor::new(media_type, new.digest, new.size) })
}

/// Returns the media type of a changed layer; `None` if its old type does not allow the change.
fn written_type(old: &MediaType, new: &WrittenLayer) -> Option<MediaType> {
    let plain = match new.encryption {
        Some(EncryptionChange::Decrypted) => old.to_decrypted_layer()?,
        _ => old.clone(),
    };
    let compressed = match new.compression {
        Some(compression) => plain.with_compression(compression)?,
        None => plain,
    };
    match new.encryption {
        Some(EncryptionChange::Encrypted) => compressed.to_encrypted_layer(),
        _ => Some(compressed),
    }
}

/// Returns the annotations of a layer that a change of its encryption keeps.
fn kept_annotations(old: &Descriptor, new: &WrittenLayer) -> BTreeMap<String, String> {
    if new.encryption.is_none() {
        return BTreeMap::new();
    }
    let kept = old.annotations.iter().filter(|(key, _)| !describes_bytes(key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Returns whether an annotation is about the compressed or the encrypted bytes, so that it means nothing for others.
fn describes_bytes(key: &str) -> bool {
    key.starts_with(ZSTD_CHUNKED) || key.starts_with(ENCRYPTION) || key == STARGZ
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
