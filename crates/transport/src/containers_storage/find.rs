//! The lookup of an image by its name or id.

use vmroot_model::Reference;

use super::records::ImageRecord;
use super::store::{Store, Stores};
use crate::name::StorageName;
use crate::{Error, Result};

/// An image and the store that has it.
pub(super) type Found<'s> = (&'s Store, &'s ImageRecord);

/// The maximum number of images that an error lists.
const LISTED: usize = 20;

/// The length of an id in messages, as podman shows it.
const SHORT_ID: usize = 12;

impl Stores {
    /// Finds an image: by an id, by a name, or by the digest of a manifest and the name of its repository. The main store
    /// comes first.
    pub(super) fn find(&self, name: &StorageName) -> Result<Found<'_>> {
        let by_word = match &name.word {
            Some(word) => self.by_id(word)?,
            None => None,
        };
        if let Some(found) = by_word {
            return Ok(found);
        }
        let found = match (&name.id, &name.reference) {
            // A name beside an id must be of the image.
            (Some(id), reference) => self
                .by_id(id)?
                .filter(|(_, image)| reference.as_ref().is_none_or(|reference| is_of_repository(image, reference))),
            (None, Some(reference)) => self.by_name(reference).or_else(|| self.by_digest(reference)),
            (None, None) => None,
        };
        found.ok_or_else(|| Error::NoStoredImage {
            path: self.path().to_owned(),
            wanted: name.to_string(),
            available: list(self.all().map(|(_, image)| image)),
        })
    }

    fn all(&self) -> impl Iterator<Item = Found<'_>> {
        self.0.iter().flat_map(|store| store.images.iter().map(move |image| (store, image)))
    }

    /// Finds the image whose id is `id` or begins with it.
    fn by_id(&self, id: &str) -> Result<Option<Found<'_>>> {
        if let Some(found) = self.all().find(|(_, image)| image.id == id) {
            return Ok(Some(found));
        }
        let mut begin_alike = self.all().filter(|(_, image)| image.id.starts_with(id));
        let Some(first) = begin_alike.next() else { return Ok(None) };
        // An additional store may have the same image.
        if begin_alike.any(|(_, image)| image.id != first.1.id) {
            let alike = self.all().map(|(_, image)| image).filter(|image| image.id.starts_with(id));
            return Err(Error::SeveralImages { path: self.path().to_owned(), available: list(alike) });
        }
        Ok(Some(first))
    }

    fn by_name(&self, reference: &Reference) -> Option<Found<'_>> {
        let name = reference.to_string();
        self.all().find(|(_, image)| image.names.contains(&name))
    }

    fn by_digest(&self, reference: &Reference) -> Option<Found<'_>> {
        let digest = reference.digest()?;
        self.all().find(|(_, image)| image.has_digest(digest) && is_of_repository(image, reference))
    }
}

/// Returns whether one of the image's names is of the reference's repository.
fn is_of_repository(image: &ImageRecord, reference: &Reference) -> bool {
    let repository = reference.name();
    let mut names = image.names.iter().filter_map(|name| Reference::parse(name).ok());
    names.any(|name| name.name() == repository)
}

fn list<'i>(mut images: impl Iterator<Item = &'i ImageRecord>) -> String {
    let describe = |image: &ImageRecord| {
        let short: String = image.id.chars().take(SHORT_ID).collect();
        image.names.first().map_or(short.clone(), |name| format!("{name} ({short})"))
    };
    let mut listed = images.by_ref().take(LISTED).map(describe).collect::<Vec<_>>().join(", ");
    match images.count() {
        0 if listed.is_empty() => listed += "none",
        0 => {}
        more => listed += &format!(" and {more} more"),
    }
    listed
}
