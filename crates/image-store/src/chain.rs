//! The documents of an image, each of which names the next one by its digest.

use vmroot_model::{Digest, Document, MANIFEST_LIMIT, Manifest};

use crate::root::chain_id;
use crate::{Error, Image, LayerRecord, Result, Store};

/// The digests from the document that an image's name resolved to, down to the image's root.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chain {
    /// The indexes above the manifest, the upper one first.
    pub indexes: Vec<Digest>,
    /// The manifest.
    pub manifest: Digest,
    /// The config, whose digest is the image's id.
    pub config: Digest,
    /// The layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// The chain id of the layers, which identifies the root.
    pub chain_id: Digest,
}

impl Store {
    /// Returns the documents of an image, after each was read and found to name the next one. Layers are not read:
    /// [`Self::verify`] reads those.
    ///
    /// # Errors
    /// - [`Error::Damaged`]: a document is missing, or does not have its digest.
    /// - [`Error::BrokenChain`]: a document does not name the next one, as only an edited record has them.
    pub fn chain(&self, image: &Image) -> Result<Chain> {
        let record = image.record();
        let broken = |document: &Digest, next: &Digest| Error::BrokenChain {
            image: record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string),
            document: *document,
            next: *next,
        };
        let above = [&record.digest].into_iter().chain(&record.indexes).copied();
        let indexes: Vec<Digest> = above.filter(|digest| *digest != record.manifest.digest).collect();
        let below = indexes.iter().skip(1).chain([&record.manifest.digest]);
        for (digest, next) in indexes.iter().zip(below) {
            match self.parse_document(image, digest)? {
                Document::Index(index) if index.manifests().iter().any(|entry| entry.digest == *next) => {}
                _ => return Err(broken(digest, next)),
            }
        }
        let Document::Manifest(manifest) = self.parse_document(image, &record.manifest.digest)? else {
            return Err(broken(&record.manifest.digest, &record.config.digest));
        };
        self.check_manifest(image, &manifest).map_err(|next| broken(manifest.digest(), &next))?;
        Ok(Chain {
            indexes,
            manifest: record.manifest.digest,
            config: record.config.digest,
            layers: record.layers.clone(),
            chain_id: chain_id(image.config().diff_ids()),
        })
    }

    fn parse_document(&self, image: &Image, digest: &Digest) -> Result<Document> {
        let damaged = || Error::damaged(self.cache.layout().blob(digest), *digest).of_image(image.record());
        let bytes = self.read_document(digest, MANIFEST_LIMIT).ok_or_else(damaged)?;
        Document::parse(bytes, None).map_err(|_| damaged())
    }

    /// Returns the first digest of the record that the manifest or the config does not have.
    fn check_manifest(&self, image: &Image, manifest: &Manifest) -> std::result::Result<(), Digest> {
        let (record, config) = (image.record(), image.config());
        if manifest.config().digest != record.config.digest || *config.digest() != record.config.digest {
            return Err(record.config.digest);
        }
        let (blobs, diff_ids) = (manifest.layers(), config.diff_ids());
        if blobs.len() != record.layers.len() || diff_ids.len() != record.layers.len() {
            return Err(record.layers.last().map_or(record.config.digest, |layer| layer.digest));
        }
        let layers = record.layers.iter().zip(blobs.iter().zip(diff_ids));
        let mut wrong = layers.filter(|(own, (blob, diff_id))| blob.digest != own.digest || **diff_id != own.diff_id);
        wrong.next().map_or(Ok(()), |(own, _)| Err(own.digest))
    }
}
