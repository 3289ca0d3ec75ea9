//! The images that are saved, and their names in the archive.

use std::collections::{BTreeMap, BTreeSet};

use vmroot_model::{Digest, Platform, Reference};

use crate::catalogue::Snapshot;
use crate::lookup::{by_id, by_reference, filter_by_platform, no_such_image, other_platforms};
use crate::{Error, Record, Result};

/// The ids of parents by those of their children.
pub(super) type Parents = BTreeMap<Digest, Digest>;

/// An image that is saved, for one or more platforms.
#[derive(Debug)]
pub(super) struct Selected {
    /// The digest of its index, or of its manifest.
    pub(super) digest: Digest,
    /// One record for each platform, ordered by platform, the host's first.
    platforms: Vec<Record>,
    /// Its names with tags, in the order of their text.
    pub(super) tags: BTreeSet<String>,
}

impl Selected {
    /// Returns a record for each platform.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.platforms.iter()
    }

    /// Keeps the record for the host's platform, or else the first one.
    pub(super) fn keep_first_platform(&mut self) {
        self.platforms.truncate(1);
    }

    fn add(&mut self, record: &Record, tag: Option<&Reference>) {
        self.tags.extend(tag.map(ToString::to_string));
        if self.platforms.iter().any(|own| own.platform == record.platform && own.id() == record.id()) {
            return;
        }
        self.platforms.push(record.clone());
        let host = Platform::host();
        self.platforms.sort_by_cached_key(|own| (own.platform != host, own.platform.to_string(), *own.id()));
    }

    /// Returns the names as references.
    pub(super) fn references(&self) -> impl Iterator<Item = Reference> {
        self.tags.iter().filter_map(|tag| Reference::parse(tag).ok())
    }
}

/// Finds the images of names, in the order of the names.
pub(super) fn select<N: AsRef<str>>(snapshot: &Snapshot, names: &[N], platforms: &[Platform]) -> Result<Vec<Selected>> {
    let mut selected: Vec<Selected> = Vec::new();
    for name in names {
        for (record, tag) in find(snapshot, name.as_ref(), platforms)? {
            let known = selected.iter_mut().find(|known| known.digest == record.digest);
            match known {
                Some(known) => known.add(record, tag.as_ref()),
                None => {
                    let mut new = Selected { digest: record.digest, platforms: Vec::new(), tags: BTreeSet::new() };
                    new.add(record, tag.as_ref());
                    selected.push(new);
                }
            }
        }
    }
    Ok(selected)
}

/// Returns the parents among the images, by the ids of their children.
pub(super) fn parents_among(snapshot: &Snapshot, selected: &[Selected]) -> Parents {
    let ids: BTreeSet<Digest> = selected.iter().flat_map(Selected::records).map(|record| *record.id()).collect();
    let parent = |id: &Digest| Some((*id, snapshot.metadata(id).parent.filter(|parent| ids.contains(parent))?));
    ids.iter().filter_map(parent).collect()
}

/// Returns the records of one name, each with the name that it has in the archive.
fn find<'a>(
    snapshot: &'a Snapshot,
    name: &str,
    platforms: &[Platform],
) -> Result<Vec<(&'a Record, Option<Reference>)>> {
    let (found, is_named) = named(snapshot, name)?;
    let mut fitting = Vec::new();
    for wanted in platforms {
        let of_platform = filter_by_platform(&found, Some(wanted));
        if of_platform.is_empty() {
            return Err(other_platforms(name, wanted, &found));
        }
        fitting.extend(of_platform);
    }
    let mut chosen = if platforms.is_empty() { found } else { fitting };
    // The order does not depend on the digests, which the form of Docker up to 24 does not keep.
    let host = Platform::host();
    chosen.sort_by_cached_key(|record| {
        let name = record.reference.as_ref().map(ToString::to_string);
        (name, record.platform != host, record.platform.to_string(), *record.id())
    });
    let tag = |record: &Record| record.reference.clone().filter(|it| is_named && it.digest().is_none());
    Ok(chosen.into_iter().map(|record| (record, tag(record))).collect())
}

/// Returns the records of a name, and whether they keep their names.
fn named<'a>(snapshot: &'a Snapshot, name: &str) -> Result<(Vec<&'a Record>, bool)> {
    let reference = match Reference::parse(name) {
        Ok(reference) if !name.starts_with("sha256:") => reference,
        parsed => {
            let found = one_by_id(snapshot, name)?;
            return match (found.is_empty(), parsed) {
                (false, _) => Ok((found, false)),
                (true, Err(source)) if !crate::lookup::is_id_prefix(name) => {
                    Err(Error::InvalidName { source: Box::new(source) })
                }
                (true, _) => Err(no_such_image(name, None)),
            };
        }
    };
    let found: Vec<_> = match (reference.tag(), reference.digest()) {
        (None, None) => {
            let is_of_name =
                |record: &&Record| record.reference.as_ref().is_some_and(|own| own.name() == reference.name());
            snapshot.records.iter().map(|record| &**record).filter(is_of_name).collect()
        }
        // Only records of exactly this tag, or of this digest under any tag.
        _ => by_reference(&snapshot.records, &reference),
    };
    if !found.is_empty() {
        return Ok((found, reference.digest().is_none()));
    }
    match one_by_id(snapshot, name)? {
        found if found.is_empty() => Err(no_such_image(name, None)),
        found => Ok((found, false)),
    }
}

/// Returns one record for each platform of the only image whose id begins with `name`.
fn one_by_id<'a>(snapshot: &'a Snapshot, name: &str) -> Result<Vec<&'a Record>> {
    let found = by_id(snapshot, name);
    if found.iter().any(|record| record.id() != found[0].id()) {
        return Err(crate::lookup::ambiguous(name, &found));
    }
    Ok(found.into_iter().take(1).collect())
}
