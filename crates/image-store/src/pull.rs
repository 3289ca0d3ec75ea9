//! From a source to an image in the store.

use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use vmroot_cache::{LockName, PUBLISHED_MODE};
use vmroot_model::{Descriptor, Digest, Platform, Reference};
use vmroot_output::write_atomically;
use vmroot_transport::ImageSource;

use crate::choose::{Chosen, Fallback, choose};
use crate::image::{by_reference, fitting, none, one_by_platform};
use crate::known::Known;
use crate::layer::Layer;
use crate::progress::Report;
use crate::{BlobProgress, Error, Image, LayerRecord, Progress, Record, Result, Store};

/// When to ask the source what a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Each time; a name with a digest means the same for ever, and is asked for once.
    Always,
    /// When the image is not here.
    #[default]
    Missing,
    /// Never: it must be here.
    Never,
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// The names to remember the image by; none for an image that has only its id.
    pub references: Vec<Reference>,
    /// The platform.
    pub platform: Platform,
    /// When to ask the source.
    pub policy: PullPolicy,
    /// What to take where there is no image for the platform.
    pub fallback: Fallback,
    /// The archive, layout or directory that the source is, if it is no registry.
    pub loaded_from: Option<String>,
}

impl Store {
    /// Pulls an image: afterwards its blobs, its layers and its root are here, and its names are known.
    ///
    /// What is here already is not fetched again, and work that was broken off goes on where it stopped.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] under [`PullPolicy::Never`]; otherwise whatever source, bytes and disk give cause for.
    pub fn pull(&self, source: &dyn ImageSource, request: &PullRequest, progress: &Arc<dyn Progress>) -> Result<Image> {
        let _working = self.in_use.work();
        if let Some(image) = self.pulled_before(request, progress)? {
            return Ok(image);
        }
        if request.policy == PullPolicy::Never {
            let name = request.references.first().map_or_else(|| source.name(), ToString::to_string);
            return Err(none(&name, Some(&request.platform)));
        }
        self.check_cancelled()?;
        let chosen = choose(&Known { store: self, source }, &request.platform, request.fallback)?;
        let record = Record { loaded_from: request.loaded_from.clone(), ..chosen.record(&chosen.platform) };
        // From here on nothing of it is removed, whether it was here before or comes now.
        let pin = self.in_use.pin(&record);
        self.keep_documents(&chosen, &**progress)?;
        self.make_ready(source, &record, progress)?;
        self.remember(&record, &request.references, progress)?;
        Ok(Image::new(named(&record, request.references.first()), chosen.config, pin))
    }

    /// The image, if the policy lets a record answer and everything is here, or can be made from what is.
    fn pulled_before(&self, request: &PullRequest, progress: &Arc<dyn Progress>) -> Result<Option<Image>> {
        let Some(reference) = request.references.first() else { return Ok(None) };
        if request.policy == PullPolicy::Always && reference.digest().is_none() {
            return Ok(None);
        }
        let Some(record) = self.known(reference, request)? else { return Ok(None) };
        // What was replaced or removed meanwhile may not be whole any more.
        let Some(pin) = self.pin_current(&record) else { return Ok(None) };
        // The registry that the name of a loaded image names may have another image of that name, or none.
        let is_elsewhere = record.loaded_from.is_some() && request.loaded_from.is_none();
        let must_be_here = request.policy == PullPolicy::Never || request.policy == PullPolicy::Missing && is_elsewhere;
        let opened = self.image(record, pin).and_then(|image| {
            let root = self.open_root(&image.layers(), progress);
            root.map_err(|error| error.of_image(image.record())).map(|_| image)
        });
        match opened {
            Ok(image) => self.known_by(image, &request.references, progress).map(Some),
            Err(error @ Error::Cancelled) => Err(error),
            Err(error) if must_be_here => Err(error),
            // Something is gone or damaged: the source has it.
            Err(_) => Ok(None),
        }
    }

    /// The record of an image by exactly this name, or by another that means the same: a digest beside any tag, or none.
    fn known(&self, reference: &Reference, request: &PullRequest) -> Result<Option<Record>> {
        match self.record(reference, &request.platform) {
            Ok(None) => {}
            // One that is damaged is written anew.
            Err(Error::Record { .. }) => return Ok(None),
            found => return found,
        }
        let records = self.images()?;
        let named = by_reference(&records, reference);
        let fitting = fitting(&named, Some(&request.platform)).first().copied();
        if fitting.is_some() || request.policy != PullPolicy::Never || named.is_empty() {
            return Ok(fitting.cloned());
        }
        let platform = (request.fallback == Fallback::Refuse).then_some(&request.platform);
        one_by_platform(&reference.to_string(), &named, platform).cloned().map(Some)
    }

    /// Remembers an image by names that it has not yet.
    fn known_by(&self, image: Image, references: &[Reference], progress: &Arc<dyn Progress>) -> Result<Image> {
        if references.first() == image.record().reference.as_ref() {
            return Ok(image);
        }
        self.remember(image.record(), references, progress)?;
        Ok(image.named(references.first()))
    }

    /// Keeps manifest, index and config as blobs: what an image is, byte for byte.
    fn keep_documents(&self, chosen: &Chosen, progress: &dyn Progress) -> Result<()> {
        let documents = [
            (chosen.top.digest(), chosen.top.raw()),
            (chosen.manifest.digest(), chosen.manifest.raw()),
            (chosen.config.digest(), chosen.config.raw()),
        ];
        for (digest, bytes) in documents {
            let path = self.cache.layout().blob(digest);
            // Small enough to compare: a damaged one is replaced.
            if fs::read(&path).is_ok_and(|present| present == bytes) {
                continue;
            }
            // Once it is replaced, no other thread takes it for damaged and removes it.
            let _lock = self.lock(&LockName::Blob(*digest), progress)?;
            write_atomically(&path, PUBLISHED_MODE, bytes)?;
        }
        Ok(())
    }

    /// Fetches and indexes what is missing of the layers, several at once, and merges them.
    fn make_ready(&self, source: &dyn ImageSource, record: &Record, progress: &Arc<dyn Progress>) -> Result<()> {
        let layers = crate::image::layers(record);
        let missing: Vec<usize> =
            (0..layers.len()).filter(|&number| self.open_layer(&layers[number].diff_id).is_none()).collect();
        let reports = self.reports(&layers, &missing, progress);
        self.ensure_layers(source, &layers, &missing, &reports)?;
        self.ensure_root(Some(source), &layers, &Report::without_blob(progress))
    }

    /// What reports on each layer's blob.
    fn reports(&self, layers: &[Layer], missing: &[usize], progress: &Arc<dyn Progress>) -> Vec<Report> {
        let fetched = missing.iter().map(|&number| &layers[number].descriptor);
        let fetched = fetched.filter(|blob| !matches!(self.cache.get(&blob.digest), Ok(Some(_))));
        let image_total = fetched.map(|blob| blob.size).sum();
        let report = |(number, layer): (usize, &Layer)| Report {
            progress: Arc::clone(progress),
            blob: BlobProgress {
                digest: layer.descriptor.digest,
                index: number + 1,
                count: layers.len() + 1,
                current: 0,
                total: layer.descriptor.size,
                image_total,
            },
        };
        layers.iter().enumerate().map(report).collect()
    }

    fn remember(&self, record: &Record, references: &[Reference], progress: &Arc<dyn Progress>) -> Result<()> {
        let _lock = self.lock(&LockName::Images, &**progress)?;
        if references.is_empty() {
            return self.write_record(record);
        }
        references.iter().try_for_each(|reference| self.write_record(&named(record, Some(reference))))
    }
}

pub(crate) fn named(record: &Record, reference: Option<&Reference>) -> Record {
    Record { reference: reference.cloned(), ..record.clone() }
}

impl Chosen {
    /// What a store would remember of the image, pulled now for this platform and without a name.
    pub fn record(&self, platform: &Platform) -> Record {
        let layers = self.manifest.layers().iter().zip(self.config.diff_ids());
        let layer = |(descriptor, diff_id): (&Descriptor, &Digest)| LayerRecord {
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest,
            diff_id: *diff_id,
            size: descriptor.size,
            urls: descriptor.foreign_urls().map(str::to_owned).collect(),
        };
        let manifest = &self.manifest;
        Record {
            reference: None,
            platform: platform.normalised(),
            digest: *self.top.digest(),
            manifest: Descriptor::new(manifest.media_type().clone(), *manifest.digest(), manifest.raw().len() as u64),
            config: manifest.config().clone(),
            layers: layers.map(layer).collect(),
            loaded_from: None,
            pulled: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        }
    }
}
