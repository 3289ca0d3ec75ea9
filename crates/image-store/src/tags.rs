//! Names of images in the store: given, moved and taken away.

use std::collections::HashSet;
use std::sync::Arc;

use vmroot_model::{Digest, Platform, Reference};

use crate::catalogue::Snapshot;
use crate::journal::Transaction;
use crate::lookup::{ambiguous, by_id, by_reference, filter_by_platform, no_such_image, other_platforms};
use crate::{Error, Moved, Progress, Record, Result, Store};

/// The names that images have got by [`Store::tag`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tagged {
    /// The new records: one for each name and platform.
    pub records: Vec<Record>,
    /// The names that other images had before.
    pub moved: Vec<Moved>,
}

/// The names that images have lost by [`Store::untag`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Untagged {
    /// The removed records: one for each name and platform.
    pub records: Vec<Record>,
    /// The ids of the images that have no name any more. They stay in the store.
    pub dangling: Vec<Digest>,
}

impl Store {
    /// Gives an image of the store further names. Without a platform, all platforms that are recorded under `source`
    /// get them.
    ///
    /// `source` is a reference, an id, or a prefix of an id. A name without a tag gets the tag `latest`. Names of other
    /// images move. An image that loses its last name stays in the store, without a name.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`], [`Error::OtherPlatforms`] or [`Error::Ambiguous`] as for [`Store::find`].
    /// - [`Error::InvalidTag`] if a name has a digest.
    /// - [`Error::Cache`] if the records cannot be locked, read or written.
    pub fn tag(
        &self,
        source: &str,
        names: &[Reference],
        platform: Option<&Platform>,
        progress: &dyn Progress,
    ) -> Result<Tagged> {
        let mut names = names.iter().map(tag_of).collect::<Result<Vec<_>>>()?;
        let mut given = HashSet::new();
        names.retain(|name| given.insert(name.clone()));
        loop {
            let snapshot = self.visible()?;
            let sources = records_of(&snapshot, source, platform)?;
            let pins = sources.iter().map(|record| self.pin_current(record)).collect::<Result<Vec<_>>>()?;
            // A record that was replaced or removed meanwhile is looked up again.
            if pins.iter().any(Option::is_none) {
                continue;
            }
            let named = names.iter().flat_map(|name| sources.iter().map(move |record| renamed(record, name)));
            let records: Vec<Record> = named.collect();
            let moved = self.write_records(&records, progress)?;
            return Ok(Tagged { records, moved });
        }
    }

    /// Takes a name from its images. Without a platform, the name is taken from the images for all platforms.
    ///
    /// An image that loses its last name stays in the store, without a name.
    ///
    /// # Errors
    /// - [`Error::NoSuchImage`] if no image has this name.
    /// - [`Error::OtherPlatforms`] if images have it, but for other platforms only.
    /// - [`Error::Cache`] if the records cannot be locked, read or written.
    pub fn untag(&self, name: &Reference, platform: Option<&Platform>) -> Result<Untagged> {
        let lock = self.lock_records(None)?;
        let snapshot = self.snapshot()?;
        let is_named = |record: &&Arc<Record>| record.reference.as_ref().is_some_and(|own| is_same_name(own, name));
        let named: Vec<&Record> = snapshot.records.iter().filter(is_named).map(|record| &**record).collect();
        let records: Vec<Record> = filter_by_platform(&named, platform).into_iter().cloned().collect();
        if records.is_empty() {
            if let Some(error) = self.only_shared_under(name, platform)? {
                return Err(error);
            }
            return Err(match (platform, named.is_empty()) {
                (Some(wanted), false) => other_platforms(&name.familiar(), wanted, &named),
                _ => Error::NoSuchImage(name.familiar()),
            });
        }
        let gone: HashSet<String> = records.iter().map(Record::file_name).collect();
        let mut transaction = Transaction { remove: records.clone(), ..Transaction::default() };
        for record in &records {
            let others = snapshot.by_id[record.id()].iter().filter(|other| !gone.contains(&other.file_name()));
            let nameless = record.with_reference(None);
            let is_planned = transaction.write.iter().any(|planned| planned.key() == nameless.key());
            if others.count() == 0 && !is_planned {
                transaction.write.push(nameless);
            }
        }
        let mut dangling: Vec<Digest> = transaction.write.iter().map(|record| *record.id()).collect();
        dangling.sort_unstable();
        dangling.dedup();
        self.commit(&lock, &transaction)?;
        Ok(Untagged { records, dangling })
    }

    /// Returns the error for a name that only a shared cache has.
    fn only_shared_under(&self, name: &Reference, platform: Option<&Platform>) -> Result<Option<Error>> {
        let visible = self.visible()?;
        let is_named = |record: &&Arc<Record>| record.reference.as_ref().is_some_and(|own| is_same_name(own, name));
        let named: Vec<&Record> = visible.records.iter().filter(is_named).map(|record| &**record).collect();
        Ok(filter_by_platform(&named, platform).into_iter().find_map(|record| self.only_shared(record)))
    }
}

/// Returns a name with its tag, for an image.
fn tag_of(name: &Reference) -> Result<Reference> {
    let invalid = |reason: &str| Error::InvalidTag { name: name.to_string(), reason: reason.to_owned() };
    let tag = name.tag_or_default().filter(|_| name.digest().is_none());
    let tag = tag.ok_or_else(|| invalid("a tag cannot be set for a digest"))?;
    name.with_tag(tag).map_err(|error| invalid(&error.to_string()))
}

/// Returns whether two names are the same, apart from the default tag.
fn is_same_name(own: &Reference, name: &Reference) -> bool {
    own.name() == name.name() && own.digest() == name.digest() && own.tag_or_default() == name.tag_or_default()
}

/// Returns the record of `source` for each platform, or for the wanted one.
pub(crate) fn records_of<'a>(
    snapshot: &'a Snapshot,
    source: &str,
    platform: Option<&Platform>,
) -> Result<Vec<&'a Record>> {
    let named = match Reference::parse(source) {
        Ok(reference) => by_reference(&snapshot.records, &reference),
        Err(_) => Vec::new(),
    };
    let is_id = named.is_empty();
    let found = if is_id { by_id(snapshot, source) } else { named };
    let fitting = filter_by_platform(&found, platform);
    if is_id && fitting.iter().any(|record| record.id() != fitting[0].id()) {
        return Err(ambiguous(source, &fitting));
    }
    let mut platforms = HashSet::new();
    let records: Vec<&Record> =
        fitting.into_iter().filter(|record| platforms.insert(record.platform.normalised())).collect();
    match (records.is_empty(), platform) {
        (false, _) => Ok(records),
        (true, Some(wanted)) if !found.is_empty() => Err(other_platforms(source, wanted, &found)),
        (true, _) => Err(no_such_image(source, platform)),
    }
}

/// Returns the record of an image under another name. No registry is asked for the image under this name when it is
/// damaged.
fn renamed(record: &Record, name: &Reference) -> Record {
    let origin = record.loaded_from.clone().or_else(|| {
        let own = record.reference.as_ref()?;
        (own.name() != name.name()).then(|| own.to_string())
    });
    Record { loaded_from: origin, ..record.with_reference(Some(name)) }
}
