//! Images of a store, and their lookup.

use std::fs;
use std::sync::Arc;

use vmroot_container_fs::ContainerFs;
use vmroot_errors::with_causes;
use vmroot_model::{Digest, ImageConfig, Platform, Reference};

use crate::in_use::Pin;
use crate::layer::Layer;
use crate::pull::with_reference;
use crate::{Error, Progress, Record, Result, Store};

/// An image of a store.
///
/// While it or a clone of it is alive, [`Store::collect`] of the same store keeps its files, even if the image has lost
/// its name. This ends when it is passed to [`Store::remove`] and that removes its last name.
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

    /// Lets the next collection remove the files, unless they are needed elsewhere.
    pub(crate) fn release(&self) {
        self.pin.release();
    }

    /// Returns the image's id: the digest of its config.
    pub fn id(&self) -> &Digest {
        self.record.id()
    }

    /// Returns the image's record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the image's config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Returns the same image under another name.
    pub(crate) fn with_reference(self, reference: Option<&Reference>) -> Self {
        Self { record: with_reference(&self.record, reference), ..self }
    }

    pub(crate) fn layers(&self) -> Vec<Layer> {
        layers(&self.record)
    }
}

/// Returns the layers of a record.
pub(crate) fn layers(record: &Record) -> Vec<Layer> {
    let layer = |layer: &crate::LayerRecord| Layer { descriptor: layer.descriptor(), diff_id: layer.diff_id };
    record.layers.iter().map(layer).collect()
}

impl Store {
    /// Returns the records of all images, ordered by name.
    ///
    /// Records with two damaged copies are left out; [`Store::verify`] reports them.
    ///
    /// # Errors
    /// [`Error::Cache`] if the records cannot be listed or read.
    pub fn images(&self) -> Result<Vec<Record>> {
        let records = self.records()?;
        for error in records.damaged {
            tracing::warn!("{}", with_causes(&error));
        }
        Ok(records.whole)
    }

    /// Finds an image by reference, id, or unique prefix of an id (with or without `sha256:`).
    ///
    /// `platform` selects among images of one name. If it is `None`, the image for the host's platform is returned, or
    /// else the only image of that name.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if no image has this name or id.
    /// - [`Error::OtherPlatforms`] if the image is in the store, but for other platforms only.
    /// - [`Error::Ambiguous`] if several ids have this prefix.
    /// - [`Error::Damaged`] if the image's config cannot be read.
    /// - [`Error::Cache`] if the records cannot be listed or read.
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
            // A record that was replaced or removed meanwhile is looked up again: its files may be gone.
            if let Some(pin) = self.pin_current(record) {
                return self.image(record.clone(), pin);
            }
        }
    }

    /// Pins a record that was read earlier. Returns `None` if the record has changed since.
    pub(crate) fn pin_current(&self, record: &Record) -> Option<Pin> {
        let pin = self.in_use.pin(record);
        self.is_current(record).then_some(pin)
    }

    /// Returns the image of a record, with its config from the cache.
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

    /// Opens the merged root of an image.
    ///
    /// Missing or damaged indexes are built again from the blobs in the cache. `progress` receives messages about waits
    /// for other processes that build them.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a blob that is needed for this is missing; other variants if building fails.
    pub fn root(&self, image: &Image, progress: &Arc<dyn Progress>) -> Result<ContainerFs> {
        let _working = self.in_use.begin_work();
        let root = self.open_root(&image.layers(), progress);
        root.map_err(|error| error.of_image(image.record()))
    }

    /// Ensures that all files of an image exist: the index and contents of each layer, and the root.
    ///
    /// # Errors
    /// The same as for [`Self::root`].
    pub fn make_complete(&self, image: &Image, progress: &Arc<dyn Progress>) -> Result<()> {
        let _working = self.in_use.begin_work();
        let completed = self.complete(&image.layers(), progress);
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
                // A digest selects the image even if it was pulled by a tag. The third candidate serves digests of
                // another algorithm than the store's own.
                Err(digest) => {
                    [Some(&record.digest), Some(&record.manifest.digest), own.digest()].contains(&Some(digest))
                }
                Ok(tag) => own.digest().is_none() && own.tag_or_default().map(str::to_owned) == *tag,
            }
    };
    let mut matching: Vec<_> = records.iter().filter(matches).collect();
    // Records of exactly this name come before others of the same image.
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

/// Returns the image with an id, or with a prefix of its id. Records of one image under several names count once.
fn one_by_id<'a>(name: &str, records: &[&'a Record], platform: Option<&Platform>) -> Result<&'a Record> {
    let fitting = filter_by_platform(records, platform);
    match (&fitting[..], platform) {
        ([], Some(wanted)) if !records.is_empty() => Err(other_platforms(name, wanted, records)),
        ([], _) => Err(no_such_image(name, platform)),
        ([first, rest @ ..], _) if rest.iter().all(|record| record.id() == first.id()) => Ok(first),
        _ => Err(ambiguous(name, &fitting)),
    }
}

/// Returns the image for a platform among those of one name.
///
/// If `platform` is `None`, that is the image for the host's platform, or else the only image.
pub(crate) fn one_by_platform<'a>(
    name: &str,
    records: &[&'a Record],
    platform: Option<&Platform>,
) -> Result<&'a Record> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    match (&filter_by_platform(records, Some(wanted))[..], records) {
        ([first, ..], _) => Ok(first),
        ([], [only, rest @ ..]) if platform.is_none() && rest.iter().all(|record| record.id() == only.id()) => Ok(only),
        _ => Err(other_platforms(name, wanted, records)),
    }
}

pub(crate) fn filter_by_platform<'a>(records: &[&'a Record], platform: Option<&Platform>) -> Vec<&'a Record> {
    let fits = |record: &&Record| platform.is_none_or(|wanted| record.platform.normalised() == wanted.normalised());
    records.iter().copied().filter(fits).collect()
}

pub(crate) fn no_such_image(name: &str, platform: Option<&Platform>) -> Error {
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
