//! Descriptions of images, in the cache or in a registry.

use vmroot_image_store::ChosenImage;
use vmroot_model::{Digest, ImageConfig, Platform, Reference};

use crate::{Image, LayerRecord, Record};

/// A description of an image: its ids, layers and config. [`Self::of`] makes it for an image in the cache,
/// [`Client::describe_remote`](crate::Client::describe_remote) without a pull.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Description {
    /// The image's id, which is the digest of its config.
    pub id: Digest,
    /// The image's name, if it has one.
    pub reference: Option<Reference>,
    /// The digest that the name resolves to, of an index or of the manifest.
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
    /// Returns the description of an image in the cache.
    pub fn of(image: &Image) -> Self {
        Self::of_record(image.record(), image.config())
    }

    pub(crate) fn of_chosen(chosen: &ChosenImage, reference: Option<&Reference>) -> Self {
        let mut record = chosen.record(chosen.config.platform());
        record.reference = reference.cloned();
        Self::of_record(&record, &chosen.config)
    }

    fn of_record(record: &Record, config: &ImageConfig) -> Self {
        Self {
            id: *record.id(),
            reference: record.reference.clone(),
            digest: record.digest,
            manifest: record.manifest.digest,
            platform: config.platform().clone(),
            layers: record.layers.clone(),
            config: config.clone(),
        }
    }
}
