//! An image in the store.

use std::fs;
use std::sync::Arc;

use vmroot_container_fs::ContainerFs;
use vmroot_errors::with_causes;
use vmroot_model::{Digest, ImageConfig, Platform, Reference};

use crate::in_use::Pin;
use crate::layer::Layer;
use crate::pull::named;
use crate::{Error, NoProgress, Progress, Record, Result, Store};

/// An image in a store.
///
/// While it or a clone of it is alive, [`Store::collect`] by the same store leaves its files alone, even after it lost its
/// name; but not after it was handed to [`Store::remove`] and that took its last name away.
#[derive(Debug, Clone)]
pub struct Image {
    record: Record,
    config: ImageConfig,
    pin: Arc<Pin>,
}

impl Image {
    pub(crate) fn new(record: Record, config: ImageConfig, pin: Pin) -> Self {
        Self { record, config, pin: Arc::new(pin) }
    }

    /// Gives the files up to the next collection, unless something else needs them.
    pub(crate) fn release(&self) {
        self.pin.release();
    }

    /// The image's id: the digest of its config.
    pub fn id(&self) -> &Digest {
        self.record.id()
    }

    /// What the store remembers.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The same image by another name.
    pub(crate) fn named(self, reference: Option<&Reference>) -> Self {
        Self { record: named(&self.record, reference), ..self }
    }

    pub(crate) fn layers(&self) -> Vec<Layer> {
        layers(&self.record)
    }
}

/// The layers of a record as they are fetched and built.
pub(crate) fn layers(record: &Record) -> Vec<Layer> {
    let layer = |layer: &crate::LayerRecord| Layer { descriptor: layer.descriptor(), diff_id: layer.diff_id };
    record.layers.iter().map(layer).collect()
}

impl Store {
    /// Every image, ordered by name. Records that are damaged beyond mending are left out; [`Store::verify`] tells.
    ///
    /// # Errors
    /// When the records cannot be listed.
    pub fn images(&self) -> Result<Vec<Record>> {
        let records = self.records()?;
        for error in records.damaged {
            tracing::warn!("{}", with_causes(&error));
        }
        Ok(records.whole)
    }

    /// Finds an image by reference, id, or unique prefix of an id (with or without `sha256:`).
    ///
    /// `platform` chooses among images of one name; without one, the host's comes first, then the only one there is.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::OtherPlatforms`] where the name is here, but not for the platform;
    /// [`Error::Ambiguous`] for a prefix of several ids; [`Error::Damaged`] when its config is not readable any more.
    pub fn find(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        loop {
            let records = self.images()?;
            let named = match Reference::parse(name) {
                Ok(reference) => by_reference(&records, &reference),
                Err(_) => Vec::new(),
            };
            let record = match named.is_empty() {
                true => one_by_id(name, &by_id(&records, name), platform)?,
                false => one_by_platform(name, &named, platform)?,
            };
            // One that was replaced or removed meanwhile is looked for again: its files may be gone already.
            if let Some(pin) = self.pin_current(record) {
                return self.image(record.clone(), pin);
            }
        }
    }

    /// Keeps the files of a record that was read before, if it is still there.
    pub(crate) fn pin_current(&self, record: &Record) -> Option<Pin> {
        let pin = self.in_use.pin(record);
        self.is_current(record).then_some(pin)
    }

    /// The image of a record, its config read from the cache.
    pub(crate) fn image(&self, record: Record, pin: Pin) -> Result<Image> {
        let path = self.cache.layout().blob(&record.config.digest);
        let damaged = || Error::damaged(path.clone(), record.config.digest).of_image(&record);
        let bytes = fs::read(&path).map_err(|_| damaged())?;
        let config = ImageConfig::parse(bytes).map_err(|_| damaged())?;
        if config.digest() != &record.config.digest {
            return Err(damaged());
        }
        Ok(Image::new(record, config, pin))
    }

    /// Opens the merged root of an image. Indexes that are missing or damaged are made again from blobs.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a blob that is needed is not here.
    pub fn root(&self, image: &Image) -> Result<ContainerFs> {
        let _working = self.in_use.work();
        let root = self.open_root(&image.layers(), &(Arc::new(NoProgress) as Arc<dyn Progress>));
        root.map_err(|error| error.of_image(image.record()))
    }

    /// Makes sure that all files of an image are here: the index and contents of each layer, and the root.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn make_complete(&self, image: &Image) -> Result<()> {
        let _working = self.in_use.work();
        let completed = self.complete(&image.layers(), &(Arc::new(NoProgress) as Arc<dyn Progress>));
        completed.map_err(|error| error.of_image(image.record()))
    }
}

pub(crate) fn by_reference<'a>(records: &'a [Record], reference: &Reference) -> Vec<&'a Record> {
    let wanted = match reference.digest() {
        Some(digest) => Err(*digest),
        None => Ok(reference.tag_or_default().map(str::to_owned)),
    };
    let matches = |record: &&Record| {
        let Some(own) = &record.reference else { return false };
        own.name() == reference.name()
            && match &wanted {
                // Whatever a tag said when it was pulled, the image is the one with that digest.
                // The third is for digests of another algorithm than the store's own.
                Err(digest) => {
                    [Some(&record.digest), Some(&record.manifest.digest), own.digest()].contains(&Some(digest))
                }
                Ok(tag) => own.digest().is_none() && own.tag_or_default().map(str::to_owned) == *tag,
            }
    };
    let mut matching: Vec<_> = records.iter().filter(matches).collect();
    // What has exactly this name before what only is the same image.
    matching.sort_by_key(|record| record.reference.as_ref() != Some(reference));
    matching
}

fn by_id<'a>(records: &'a [Record], name: &str) -> Vec<&'a Record> {
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Vec::new();
    }
    records.iter().filter(|record| record.id().hex().starts_with(prefix)).collect()
}

/// The image that an id names, if it is one; under several names it is the same.
fn one_by_id<'a>(name: &str, records: &[&'a Record], platform: Option<&Platform>) -> Result<&'a Record> {
    let fitting = fitting(records, platform);
    match (&fitting[..], platform) {
        ([], Some(wanted)) if !records.is_empty() => Err(other_platforms(name, wanted, records)),
        ([], _) => Err(none(name, platform)),
        ([first, rest @ ..], _) if rest.iter().all(|record| record.id() == first.id()) => Ok(first),
        _ => Err(ambiguous(name, &fitting)),
    }
}

/// The image for a platform among those of one name. With none asked for, the host's, or the only one there is.
pub(crate) fn one_by_platform<'a>(
    name: &str,
    records: &[&'a Record],
    platform: Option<&Platform>,
) -> Result<&'a Record> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    match (&fitting(records, Some(wanted))[..], records) {
        ([first, ..], _) => Ok(first),
        ([], [only, rest @ ..]) if platform.is_none() && rest.iter().all(|record| record.id() == only.id()) => Ok(only),
        _ => Err(other_platforms(name, wanted, records)),
    }
}

pub(crate) fn fitting<'a>(records: &[&'a Record], platform: Option<&Platform>) -> Vec<&'a Record> {
    let fits = |record: &&Record| platform.is_none_or(|wanted| record.platform.normalised() == wanted.normalised());
    records.iter().copied().filter(fits).collect()
}

pub(crate) fn none(name: &str, platform: Option<&Platform>) -> Error {
    Error::NoSuchImage(platform.map_or_else(|| name.to_owned(), |platform| format!("{name} for {platform}")))
}

fn other_platforms(name: &str, wanted: &Platform, records: &[&Record]) -> Error {
    let mut available: Vec<_> = records.iter().map(|record| record.platform.to_string()).collect();
    available.sort_unstable();
    available.dedup();
    Error::OtherPlatforms { name: name.to_owned(), wanted: wanted.to_string(), available: available.join(", ") }
}

fn ambiguous(name: &str, records: &[&Record]) -> Error {
    let candidates: Vec<_> = records.iter().map(|record| format!("{} ({})", record.id(), record.platform)).collect();
    Error::Ambiguous { name: name.to_owned(), candidates: candidates.join(", ") }
}
