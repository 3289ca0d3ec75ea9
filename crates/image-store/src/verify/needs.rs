//! The files that image records need.

use std::collections::HashMap;

use vmroot_model::Digest;

use super::AffectedImage;
use crate::Record;
use crate::image::layers;
use crate::layer::Layer;
use crate::root::chain_id;

/// The role of a blob in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The index that the image's name resolves to.
    Index,
    Manifest,
    Config,
    /// The layer at this position, 0 for the lowest.
    Layer(usize),
}

/// A blob that an image needs.
#[derive(Debug, Clone)]
pub(super) struct BlobUse {
    pub(super) record: Record,
    pub(super) role: Role,
}

/// A layer that an image needs.
#[derive(Debug, Clone)]
pub(super) struct LayerUse {
    pub(super) record: Record,
    pub(super) position: usize,
}

/// The records, and the positions of those that need a file.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) records: Vec<Record>,
    blobs: HashMap<Digest, Vec<(u32, Role)>>,
    layers: HashMap<Digest, Vec<(u32, usize)>>,
    roots: HashMap<Digest, Vec<u32>>,
}

impl Needs {
    pub(super) fn of(records: Vec<Record>) -> Self {
        let mut needs = Self { records, ..Self::default() };
        for (number, record) in (0_u32..).zip(&needs.records) {
            let mut blob = |digest: &Digest, role| needs.blobs.entry(*digest).or_default().push((number, role));
            blob(&record.manifest.digest, Role::Manifest);
            let indexes = [&record.digest].into_iter().chain(&record.indexes);
            indexes.filter(|digest| **digest != record.manifest.digest).for_each(|digest| blob(digest, Role::Index));
            blob(&record.config.digest, Role::Config);
            for (position, layer) in record.layers.iter().enumerate() {
                blob(&layer.digest, Role::Layer(position));
                needs.layers.entry(layer.diff_id).or_default().push((number, position));
            }
            needs.roots.entry(root_of(record)).or_default().push(number);
        }
        needs
    }

    fn record(&self, number: u32) -> Record {
        self.records[number as usize].clone()
    }

    pub(super) fn blobs(&self) -> impl Iterator<Item = &Digest> {
        self.blobs.keys()
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = &Digest> {
        self.layers.keys()
    }

    pub(super) fn roots(&self) -> impl Iterator<Item = &Digest> {
        self.roots.keys()
    }

    /// Returns the images that need a blob.
    pub(super) fn of_blob(&self, digest: &Digest) -> Vec<BlobUse> {
        let uses = self.blobs.get(digest).into_iter().flatten();
        uses.map(|&(number, role)| BlobUse { record: self.record(number), role }).collect()
    }

    /// Returns the images that need a layer.
    pub(super) fn of_layer(&self, diff_id: &Digest) -> Vec<LayerUse> {
        let uses = self.layers.get(diff_id).into_iter().flatten();
        uses.map(|&(number, position)| LayerUse { record: self.record(number), position }).collect()
    }

    /// Returns the images that need a root.
    pub(super) fn of_root(&self, chain_id: &Digest) -> Vec<Record> {
        self.roots.get(chain_id).into_iter().flatten().map(|&number| self.record(number)).collect()
    }
}

impl BlobUse {
    pub(super) fn size(&self) -> Option<u64> {
        match self.role {
            // The record does not have the size of the index.
            Role::Index => None,
            Role::Manifest => Some(self.record.manifest.size),
            Role::Config => Some(self.record.config.size),
            Role::Layer(position) => Some(self.record.layers[position].size),
        }
    }
}

impl LayerUse {
    pub(super) fn layer(&self) -> Layer {
        layers(&self.record).swap_remove(self.position)
    }
}

/// Returns the chain id of a record's layers.
fn root_of(record: &Record) -> Digest {
    chain_id(&record.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>())
}

/// Returns the images of records, each once.
pub(super) fn affected<'r>(records: impl IntoIterator<Item = &'r Record>) -> Vec<AffectedImage> {
    let mut images: Vec<AffectedImage> = Vec::new();
    for record in records {
        let image = AffectedImage::of(record);
        if images.last() != Some(&image) {
            images.push(image);
        }
    }
    images
}
