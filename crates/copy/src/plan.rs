//! The choice of the manifest's format, and of the compression of each layer.

use vmroot_compress::Target;
use vmroot_model::{Descriptor, EncryptionChange, LayerCompression, Manifest, ManifestFormat};
use vmroot_transport::{Accepts, ImageDestination, LayerForm};

use crate::CopyOptions;

/// The annotation of the layers that have a table of contents (containers/storage, pkg/chunked).
const CHUNKED: &str = "io.github.containers.zstd-chunked.manifest-checksum";

/// Returns the formats to try for a manifest, the best first. Empty if the destination takes none.
///
/// The order is that of other tools: the format of the source, then Docker's schema 2, OCI, and schema 1. A destination
/// may refuse a manifest although it takes its type.
pub(crate) fn formats(
    manifest: &Manifest,
    destination: &dyn ImageDestination,
    options: &CopyOptions,
    is_fixed: bool,
) -> Vec<ManifestFormat> {
    let own = manifest.format();
    let accepts = destination.accepts();
    let is_exact = is_fixed || options.format.is_some();
    let wanted = match options.format {
        _ if is_fixed => vec![own],
        Some(format) => vec![format],
        None if needs_oci(options) => vec![ManifestFormat::Oci],
        None if !manifest.is_image() => vec![own],
        None => vec![own, ManifestFormat::Schema2, ManifestFormat::Oci, ManifestFormat::Schema1],
    };
    let mut formats: Vec<ManifestFormat> = Vec::new();
    for format in wanted {
        let media_type = format.media_type();
        // The digest of a fixed image matters more than the compression.
        if !is_fixed && format != ManifestFormat::Oci && needs_oci(options) {
            continue;
        }
        let is_taken = if is_exact { destination.can_hold(&media_type) } else { accepts.accepts(&media_type) };
        if is_taken && !formats.contains(&format) {
            formats.push(format);
        }
    }
    formats
}

/// Returns whether the options ask for layers with zstd or encryption, which only OCI manifests can have. As in skopeo,
/// this decides the format even for a destination that keeps the layers as they are.
pub(crate) fn needs_oci(options: &CopyOptions) -> bool {
    options.encryption.is_some() || options.compression.is_some_and(|it| is_zstd(it.target))
}

/// Returns the reason for which an image that needs an OCI manifest has no format, after another one, and the remedy.
pub(crate) fn needs_oci_reason(options: &CopyOptions) -> (&'static str, &'static str) {
    match options.encryption {
        Some(_) => {
            (", and only OCI manifests have encrypted layers", "choose another --format, or copy to another transport")
        }
        None => (
            ", and only OCI manifests have layers with zstd",
            "choose gzip, another --format, or copy to another transport",
        ),
    }
}

/// Returns the compression of a layer that may be encrypted. The table of contents of zstd:chunked could not be read
/// then, so such a layer gets zstd, as in skopeo.
pub(crate) fn encryptable(target: Target, encryption: Option<EncryptionChange>) -> Target {
    match (target, encryption) {
        (Target::ZstdChunked { level }, Some(EncryptionChange::Encrypted)) => Target::Zstd { level },
        (target, _) => target,
    }
}

/// Returns the compression that the options ask for, if the destination compresses layers. Others keep the compression
/// of layers, or remove it.
pub(crate) fn requested(accepts: &Accepts, options: &CopyOptions) -> Option<Target> {
    options.compression.map(|it| it.target).filter(|_| accepts.layers == LayerForm::Compress)
}

/// Returns the new compression of a layer; `None` if the layer stays as it is. `own` is its compression, or `None` if it
/// has no known one, such as an encrypted layer and the parts of an artifact.
pub(crate) fn change(
    layer: &Descriptor,
    own: Option<LayerCompression>,
    format: ManifestFormat,
    accepts: &Accepts,
    options: &CopyOptions,
    is_fixed: bool,
) -> Option<Target> {
    let own = own?;
    // The bytes of a foreign layer are those at its URLs.
    if accepts.foreign_layers && layer.foreign_urls().next().is_some() {
        return None;
    }
    let is_chunked = layer.annotations.contains_key(CHUNKED);
    let gzip = Target::Gzip { level: options.gzip_level };
    let target = match (requested(accepts, options), accepts.layers) {
        // As in skopeo, digests are more important than the compression.
        (Some(target), _) if !is_fixed => target,
        // A plain archive has no compressed layers, even if the options ask for them. An image that must not change
        // keeps its layers: programs that load the archive accept both forms.
        (_, LayerForm::Decompress) if !is_fixed => Target::Plain,
        // Plain layers are valid everywhere, so they stay if the image must not change.
        (_, LayerForm::Compress) if own == LayerCompression::None && !is_fixed => gzip,
        // Docker's formats have no zstd.
        (_, _) if own == LayerCompression::Zstd && format != ManifestFormat::Oci => gzip,
        _ => return None,
    };
    let same = match target {
        Target::Plain => own == LayerCompression::None,
        Target::Gzip { .. } => own == LayerCompression::Gzip,
        Target::Zstd { .. } => own == LayerCompression::Zstd && !is_chunked,
        Target::ZstdChunked { .. } => own == LayerCompression::Zstd && is_chunked,
    };
    (!same).then_some(target)
}

fn is_zstd(target: Target) -> bool {
    compression(target) == LayerCompression::Zstd
}

/// Returns the compression that a target gives.
pub(crate) fn compression(target: Target) -> LayerCompression {
    match target {
        Target::Plain => LayerCompression::None,
        Target::Gzip { .. } => LayerCompression::Gzip,
        Target::Zstd { .. } | Target::ZstdChunked { .. } => LayerCompression::Zstd,
    }
}
