//! Lookup of images by name, id and platform.

use std::sync::Arc;

use vmroot_model::{Platform, Reference};

use crate::catalogue::Snapshot;
use crate::{Error, Fallback, Image, Record, Result, Store};

impl Store {
    /// Finds an image by reference, id, or unique prefix of an id (with or without `sha256:`).
    ///
    /// `platform` selects among images of one name. If it is `None`, it is the host's. An id, or the digest of a manifest,
    /// names one image, which is then returned for any platform.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if no image has this name or id.
    /// - [`Error::OtherPlatforms`] if the image is in the store, but for other platforms only.
    /// - [`Error::Ambiguous`] if several ids have this prefix.
    /// - [`Error::Damaged`] if the image's config cannot be read.
    /// - [`Error::Cache`] if the records cannot be listed or read.
    pub fn find(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        self.find_or(name, platform, Fallback::Refuse)
    }

    /// Finds an image as [`Self::find`] does. If there is none for the host's platform and `platform` is `None`,
    /// [`Fallback::Only`] accepts the only image of the name.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_or(&self, name: &str, platform: Option<&Platform>, fallback: Fallback) -> Result<Image> {
        loop {
            let snapshot = self.visible()?;
            let record = find_record(&snapshot, name, platform, fallback)?;
            // A record that was replaced or removed meanwhile is looked up again: its files may be gone.
            if let Some(pin) = self.pin_current(record)? {
                return self.image(record.clone(), pin);
            }
        }
    }
}

/// Returns the record of an image for a platform, by reference, id or prefix of an id.
pub(crate) fn find_record<'a>(
    snapshot: &'a Snapshot,
    name: &str,
    platform: Option<&Platform>,
    fallback: Fallback,
) -> Result<&'a Record> {
    if let Ok(reference) = Reference::parse(name) {
        let named = by_reference(&snapshot.records, &reference);
        if !named.is_empty() {
            return one_by_platform(name, &reference, &named, platform, fallback);
        }
    }
    one_by_id(name, &by_id(snapshot, name), platform)
}

pub(crate) fn by_reference<'a>(records: &'a [Arc<Record>], reference: &Reference) -> Vec<&'a Record> {
    let wanted = match reference.digest() {
        Some(digest) => Err(*digest),
        None => Ok(reference.tag_or_default()),
    };
    let matches = |record: &&Record| {
        let Some(own) = &record.reference else { return false };
        (own.domain(), own.path()) == (reference.domain(), reference.path())
            && match &wanted {
                // A digest selects the image even if it was pulled by a tag. The third candidate serves digests of
                // another algorithm than the store's own.
                Err(digest) => {
                    [Some(&record.digest), Some(&record.manifest.digest), own.digest()].contains(&Some(digest))
                }
                Ok(tag) => own.digest().is_none() && own.tag_or_default() == *tag,
            }
    };
    let mut matching: Vec<_> = records.iter().map(|record| &**record).filter(matches).collect();
    // Records of exactly this name come before others of the same image.
    matching.sort_by_key(|record| record.reference.as_ref() != Some(reference));
    matching
}

/// Returns the records of the images whose ids begin with `name`.
pub(crate) fn by_id<'a>(snapshot: &'a Snapshot, name: &str) -> Vec<&'a Record> {
    let ids = snapshot.ids_with_prefix(name);
    ids.iter().flat_map(|id| snapshot.by_id[id].iter().map(|record| &**record)).collect()
}

/// Returns whether `name` can be the beginning of an id.
pub(crate) fn is_id_prefix(name: &str) -> bool {
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_hexdigit())
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
/// If `platform` is `None`, that is the image for the host's platform. Without one, it is the image whose manifest has the
/// digest of the reference, or with [`Fallback::Only`] the only image.
pub(crate) fn one_by_platform<'a>(
    name: &str,
    reference: &Reference,
    records: &[&'a Record],
    platform: Option<&Platform>,
    fallback: Fallback,
) -> Result<&'a Record> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let is_accepted = |record: &Record| {
        platform.is_none() && (fallback == Fallback::Only || reference.digest() == Some(&record.manifest.digest))
    };
    match (&filter_by_platform(records, Some(wanted))[..], records) {
        ([first, ..], _) => Ok(first),
        ([], [only, rest @ ..]) if is_accepted(only) && rest.iter().all(|record| record.id() == only.id()) => Ok(only),
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

pub(crate) fn other_platforms(name: &str, wanted: &Platform, records: &[&Record]) -> Error {
    let mut available: Vec<_> = records.iter().map(|record| record.platform.to_string()).collect();
    available.sort_unstable();
    available.dedup();
    Error::OtherPlatforms { name: name.to_owned(), wanted: wanted.to_string(), available: available.join(", ") }
}

pub(crate) fn ambiguous(name: &str, records: &[&Record]) -> Error {
    Error::ambiguous(name, records.iter().map(|record| format!("{} ({})", record.id(), record.platform)))
}
