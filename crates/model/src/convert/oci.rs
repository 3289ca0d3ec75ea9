//! Docker's schema 2 to OCI manifests.

use crate::convert::oci_config::OciConfig;
use crate::convert::{Converted, ManifestFormat, WrittenLayer, layers, loss};
use crate::{Descriptor, Manifest, MediaType, NewManifest, Result};

const FORMAT: ManifestFormat = ManifestFormat::Oci;

/// Converts a schema 2 manifest. The config keeps only the members that OCI defines.
pub(super) fn from_schema2(manifest: &Manifest, config: &[u8], layers: &[WrittenLayer]) -> Result<Converted> {
    if !manifest.is_image() {
        let reason = format!("it is no image: its config is of type {:?}", manifest.config().media_type.as_str());
        return Err(manifest.not_convertible(FORMAT, reason));
    }
    let (converted, lost) = OciConfig::convert(&manifest.parse_config(config)?)?;
    let mut losses = Vec::from_iter(lost);
    losses.extend(loss::unknown_members(manifest));
    // The types are OCI's before a layer becomes zstd, which Docker's types do not have.
    let renamed = layers::renamed(manifest, manifest.layers(), FORMAT)?;
    let layers = layers::written(manifest, &renamed, layers, FORMAT, &mut losses)?;
    // Docker's descriptors have no annotations. Those of recompressed layers are new.
    let document = NewManifest::oci(Descriptor::of(MediaType::OCI_CONFIG, &converted), layers);
    Ok(Converted {
        manifest: document.to_bytes(),
        media_type: document.media_type(),
        config: (converted != config).then_some(converted),
        extra_blobs: Vec::new(),
        losses,
    })
}
