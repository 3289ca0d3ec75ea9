//! What an image is, without pulling it.

use vmroot_image_store::ChosenImage;
use vmroot_model::{Digest, ImageConfig, Platform, Reference};

use crate::{LayerRecord, Record};

/// What an image is: enough to print it, from a record or from a registry.
#[derive(Debug, Clone)]
pub struct Description {
    /// The image's id: the digest of its config.
    pub id: Digest,
    /// The name, if it has one.
    pub reference: Option<String>,
    /// The digest that the name leads to: of an index, or of the manifest.
    pub digest: Digest,
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The platform of the image.
    pub platform: Platform,
    /// The layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// The config.
    pub config: ImageConfig,
}

impl Description {
    pub(crate) fn chosen(chosen: &ChosenImage, reference: Option<&Reference>) -> Self {
        let record = Record { reference: reference.cloned(), ..chosen.record(chosen.config.platform()) };
        Self::of(&record, &chosen.config)
    }

    pub(crate) fn of(record: &Record, config: &ImageConfig) -> Self {
        Self {
            id: *record.id(),
            reference: record.reference.as_ref().map(ToString::to_string),
            digest: record.digest,
            manifest: record.manifest.digest,
            platform: config.platform().clone(),
            layers: record.layers.clone(),
            config: config.clone(),
        }
    }
}
