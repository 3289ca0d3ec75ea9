//! Pulls of images from a source into the store.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vmroot_model::{Digest, Platform, Reference};
use vmroot_transport::{Admission, ImageSource, SeenSignatures};

use crate::cached_source::CachedSource;
use crate::choose::{ChosenImage, Fallback, choose};
use crate::lookup::{by_reference, filter_by_platform, no_such_image, one_by_platform};
use crate::progress::BlobReporter;
use crate::signatures::KeptSignatures;
use crate::{Error, Image, LayerRecord, Progress, Record, Result, Store};

/// The condition for resolving an image's name at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PullPolicy {
    /// At each pull. A name with a digest is resolved only once, because its meaning cannot change.
    Always,
    /// If the image is not in the store.
    #[default]
    Missing,
    /// Never: the image must be in the store.
    Never,
}

/// A request to pull an image.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The names to store the image under. If there are none, the image has only its id.
    pub references: Vec<Reference>,
    /// The platform to select.
    pub platform: Platform,
    /// The condition for resolving the name at the source.
    pub policy: PullPolicy,
    /// The image to select if there is none for the platform.
    pub fallback: Fallback,
    /// The archive, layout or directory that is the source; `None` for a registry.
    pub loaded_from: Option<String>,
    /// The policy that the image must meet. It is asked before anything is recorded.
    pub admission: Option<Admission>,
    /// Signatures to keep beside the record, of an image that was judged before.
    pub signatures: SeenSignatures,
}

impl Store {
    /// Pulls an image: stores its blobs, layers and root, and records its names.
    ///
    /// Parts that are in the store are not fetched again, and interrupted downloads are resumed.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] or [`Error::OtherPlatforms`] if the image is not in the store under
    ///   [`PullPolicy::Never`].
    /// - [`Error::Image`] or [`Error::NotAnImage`] if there is no image for the platform, or its documents are invalid.
    /// - [`Error::Source`] if the source cannot be read, or if the policy does not accept the image.
    /// - [`Error::Blob`], [`Error::Layer`] or [`Error::Decompress`] if the source's bytes are invalid.
    /// - [`Error::Damaged`] if the image in the store is damaged and the policy forbids fetching it again.
    /// - [`Error::Cache`], [`Error::Index`] or [`Error::Root`] if files of the store cannot be read or written.
    /// - [`Error::Budget`] if the cache would be larger than [`StoreOptions::max_size`](crate::StoreOptions::max_size).
    /// - [`Error::Cancelled`] if the work was cancelled.
    pub fn pull(&self, source: &dyn ImageSource, request: &PullRequest, progress: &Arc<dyn Progress>) -> Result<Image> {
        if let Some(image) = self.find_pulled(source, request, progress)? {
            return Ok(image);
        }
        if request.policy == PullPolicy::Never {
            let name = request.references.first().map_or_else(|| source.name(), ToString::to_string);
            return Err(no_such_image(&name, Some(&request.platform)));
        }
        self.check_cancelled()?;
        self.cache.check_writable()?;
        let chosen = choose(&CachedSource { store: self, source }, &request.platform, request.fallback)?;
        let kept = match &request.admission {
            Some(_) => self.admit(request.admission.as_ref(), source, &chosen)?,
            None => KeptSignatures::of_seen(&request.signatures),
        };
        let loaded_from = request.loaded_from.clone();
        let record = Record { loaded_from, ..chosen.record(&chosen.platform) };
        let signatures = kept.to_document().map(|(digest, _)| digest);
        let signatures = signatures.or_else(|| self.signatures_of_same(&record, request));
        let record = Record { signatures, ..record };
        // From here on no collection removes files of the image.
        let pin = self.in_use.pin(&record)?;
        let named = record.with_reference(request.references.first());
        let pin = self.within_budget(&named, pin, progress, || {
            self.keep_documents(&chosen, &**progress)?;
            self.keep_signatures(&kept, &**progress)?;
            self.ensure_complete(source, &record, progress)
        })?;
        self.record_names(&record, &request.references, progress)?;
        Ok(Image::new(record.with_reference(request.references.first()), chosen.config, pin))
    }

    /// Returns the document with the signatures of an image that has the name of the request, and is the same one. A pull
    /// without a policy reads no signatures, and must not lose those of an earlier pull.
    fn signatures_of_same(&self, record: &Record, request: &PullRequest) -> Option<Digest> {
        let known = self.record(request.references.first()?, &record.platform).ok().flatten()?;
        let is_same = (known.digest, &known.indexes, known.manifest.digest, &known.loaded_from)
            == (record.digest, &record.indexes, record.manifest.digest, &record.loaded_from);
        known.signatures.filter(|_| is_same)
    }

    /// Returns the image from its record, if the policy allows that and the image is or can be made complete from the
    /// cache.
    fn find_pulled(
        &self,
        source: &dyn ImageSource,
        request: &PullRequest,
        progress: &Arc<dyn Progress>,
    ) -> Result<Option<Image>> {
        let Some(reference) = request.references.first() else { return Ok(None) };
        if request.policy == PullPolicy::Always && reference.digest().is_none() {
            return Ok(None);
        }
        let Some(record) = self.find_record(reference, request)? else { return Ok(None) };
        // A record that was replaced or removed meanwhile may lack files.
        let Some(pin) = self.pin_current(&record)? else { return Ok(None) };
        self.touch(&record);
        // The registry in the name of a loaded image may have another image of that name, or none.
        let is_elsewhere = record.loaded_from.is_some() && request.loaded_from.is_none();
        let must_be_here = request.policy == PullPolicy::Never || request.policy == PullPolicy::Missing && is_elsewhere;
        let opened = self.image(record, pin).and_then(|image| {
            let root = self.open_root(&image.layers(), progress);
            root.map_err(|error| error.of_image(image.record())).map(|_| image)
        });
        let opened = opened.and_then(|image| {
            let admitted = self.admit_stored(source, &image, request);
            admitted.map(|()| image)
        });
        match opened {
            Ok(image) => self.add_names(image, &request.references, progress).map(Some),
            Err(error @ Error::Cancelled) => Err(error),
            Err(error) if must_be_here => Err(error),
            // A file is missing or damaged, or the signatures that were kept are too few. The source can provide them.
            Err(_) => Ok(None),
        }
    }

    /// Judges an image of the store that a request has found.
    fn admit_stored(&self, source: &dyn ImageSource, image: &Image, request: &PullRequest) -> Result<()> {
        let Some(admission) = &request.admission else { return Ok(()) };
        // The image of a registry is judged under the requested name, and another one under that of its origin.
        let identity = match image.record().loaded_from {
            None => Some(source.identity()?),
            Some(_) => None,
        };
        self.check_policy(&self.source(image), identity.as_ref(), admission).map(drop)
    }

    /// Returns the record of exactly this name, or of an equivalent one: the same digest with another tag or without a
    /// tag.
    fn find_record(&self, reference: &Reference, request: &PullRequest) -> Result<Option<Record>> {
        match self.record(reference, &request.platform) {
            Ok(None) => {}
            // A damaged record is written again after the pull.
            Err(Error::Record { .. }) => return Ok(None),
            found => return found,
        }
        let snapshot = self.visible()?;
        let named = by_reference(&snapshot.records, reference);
        let fitting = filter_by_platform(&named, Some(&request.platform)).first().copied();
        if fitting.is_some() || request.policy != PullPolicy::Never || named.is_empty() {
            return Ok(fitting.cloned());
        }
        let platform = (request.fallback == Fallback::Refuse).then_some(&request.platform);
        one_by_platform(&reference.to_string(), reference, &named, platform, request.fallback).cloned().map(Some)
    }

    /// Records the image under the names that it does not have yet. An image of a shared cache is recorded in the own one,
    /// if that can be written.
    fn add_names(&self, image: Image, references: &[Reference], progress: &Arc<dyn Progress>) -> Result<Image> {
        let has_name = references.first() == image.record().reference.as_ref();
        if has_name && (image.record().shared_cache.is_none() || !self.is_writable()) {
            return Ok(image);
        }
        self.record_names(image.record(), references, progress)?;
        Ok(image.with_reference(references.first()))
    }

    /// Stores the indexes, the manifest and the config as blobs, byte for byte.
    pub(crate) fn keep_documents(&self, chosen: &ChosenImage, progress: &dyn Progress) -> Result<()> {
        let indexes = chosen.indexes.iter().map(|index| (index.digest(), index.raw()));
        let documents = [
            (chosen.top.digest(), chosen.top.raw()),
            (chosen.manifest.digest(), chosen.manifest.raw()),
            (chosen.config.digest(), chosen.config.raw()),
        ];
        indexes.chain(documents).try_for_each(|(digest, bytes)| self.write_document(digest, bytes, progress))
    }

    /// Fetches and indexes the missing layers, several at once, and merges all layers.
    pub(crate) fn ensure_complete(
        &self,
        source: &dyn ImageSource,
        record: &Record,
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        let indexes = self.ensure_layers(source, &crate::image::layers(record), progress)?;
        self.ensure_root(&indexes, &**progress)?;
        self.ensure_blobs(source, record, progress)
    }

    /// Stores the blobs of layers that the store had with other blobs. Without them, the image could not be saved or
    /// copied with the same digests.
    fn ensure_blobs(&self, source: &dyn ImageSource, record: &Record, progress: &Arc<dyn Progress>) -> Result<()> {
        for layer in &record.layers {
            if !self.has_blob(&layer.digest) {
                let (descriptor, reporter) = (layer.descriptor(), BlobReporter::of(progress, &layer.descriptor()));
                let fetched = self.fetch_blob(source, &descriptor, &reporter);
                fetched.map_err(|error| error.of_member(source, &descriptor))?;
            }
        }
        Ok(())
    }

    pub(crate) fn record_names(
        &self,
        record: &Record,
        references: &[Reference],
        progress: &Arc<dyn Progress>,
    ) -> Result<()> {
        let mut records: Vec<Record> =
            references.iter().map(|reference| record.with_reference(Some(reference))).collect();
        if records.is_empty() {
            records.push(record.with_reference(None));
        }
        for moved in self.write_records(&records, &**progress)? {
            progress.message(&moved.to_string());
        }
        Ok(())
    }
}

impl ChosenImage {
    /// Returns a record of the image, pulled now for `platform` and without a name.
    pub fn record(&self, platform: &Platform) -> Record {
        let layers = self.manifest.layers().iter().zip(self.config.diff_ids());
        let manifest = &self.manifest;
        Record {
            reference: None,
            platform: platform.normalised(),
            digest: *self.top.digest(),
            indexes: self.indexes.iter().map(|index| *index.digest()).collect(),
            manifest: manifest.descriptor(),
            config: manifest.config().clone(),
            layers: layers.map(|(layer, diff_id)| LayerRecord::new(layer, diff_id)).collect(),
            loaded_from: None,
            created: self.config.created().map(str::to_owned),
            signatures: None,
            shared_cache: None,
            pulled: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}
