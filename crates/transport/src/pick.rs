//! Which image of several.

use std::fmt;
use std::path::Path;

use vmroot_model::Reference;

use crate::{Error, Result};

/// Which image of an archive or a layout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pick {
    /// The only one there is.
    #[default]
    Only,
    /// The one of this name.
    Name(String),
    /// The one at this place, the first being 0: `@N`.
    Index(usize),
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => f.write_str("the only one"),
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "@{index}"),
        }
    }
}

/// An image of an archive, a layout or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveImage {
    /// Its place in the list of the archive: the `N` of `@N`.
    pub index: usize,
    /// The names it can be picked by, as they stand in the archive.
    pub names: Vec<String>,
    /// The references among the names, with a tag each: what the image is to be called once it is loaded.
    pub references: Vec<Reference>,
    /// The entries of the list that make up the image. More than one where a list has an entry for each platform.
    pub(crate) entries: Vec<usize>,
}

impl ArchiveImage {
    /// An image that is one entry of its archive's list.
    pub(crate) fn new(index: usize, names: Vec<String>, references: Vec<Reference>) -> Self {
        Self { index, names, references, entries: vec![index] }
    }

    /// Whether `name` is one of this image's names, or means one of its references.
    fn is_called(&self, name: &str, reference: Option<&Reference>) -> bool {
        self.names.iter().any(|own| own == name) || reference.is_some_and(|wanted| self.references.contains(wanted))
    }
}

impl fmt::Display for ArchiveImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.first() {
            Some(name) => write!(f, "{name} (@{})", self.index),
            None => write!(f, "@{}", self.index),
        }
    }
}

/// Reads a name as a reference with a tag, `latest` unless it has one. `None` where it is none, or has a digest.
pub(crate) fn tagged(name: &str) -> Option<Reference> {
    let reference = Reference::parse(name).ok()?;
    if reference.digest().is_some() {
        return None;
    }
    let tag = reference.tag_or_default()?.to_owned();
    reference.with_tag(&tag).ok()
}

/// Finds the image that `pick` means, in the archive at `path`.
///
/// An index narrows the image down to that entry.
pub(crate) fn select(path: &Path, images: &[ArchiveImage], pick: &Pick) -> Result<ArchiveImage> {
    if images.is_empty() {
        return Err(Error::NoImages { path: path.to_owned() });
    }
    let reference = match pick {
        Pick::Name(name) => tagged(name),
        Pick::Only | Pick::Index(_) => None,
    };
    let is_meant = |image: &&ArchiveImage| match pick {
        Pick::Only => true,
        Pick::Name(name) => image.is_called(name, reference.as_ref()),
        Pick::Index(index) => image.entries.contains(index),
    };
    let mut meant = images.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(image), None) => {
            let mut image = image.clone();
            if let &Pick::Index(index) = pick {
                image.index = index;
                image.entries = vec![index];
            }
            Ok(image)
        }
        (None, _) => {
            Err(Error::NoSuchImage { path: path.to_owned(), wanted: pick.to_string(), available: list(images.iter()) })
        }
        (Some(_), Some(_)) => {
            Err(Error::SeveralImages { path: path.to_owned(), available: list(images.iter().filter(is_meant)) })
        }
    }
}

/// How many images an error lists: archives can hold thousands.
const LISTED: usize = 20;

fn list<'a>(images: impl Iterator<Item = &'a ArchiveImage>) -> String {
    let mut images = images.map(ToString::to_string);
    let mut listed = images.by_ref().take(LISTED).collect::<Vec<_>>().join(", ");
    let more = images.count();
    if more > 0 {
        listed += &format!(" and {more} more");
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Vec<ArchiveImage> {
        let image = |index, names: &[&str]| {
            let references = names.iter().filter_map(|name| tagged(name)).collect();
            ArchiveImage::new(index, names.iter().map(|&name| name.to_owned()).collect(), references)
        };
        vec![image(0, &["alpine:3.20", "alpine:latest"]), image(1, &[]), image(2, &["quay.io/x/y:1"])]
    }

    #[test]
    fn by_name_by_place_or_the_only_one() {
        let images = images();
        let select = |pick| select(Path::new("a.tar"), &images, &pick).map(|image| image.index);
        for name in ["alpine:3.20", "alpine", "docker.io/library/alpine:latest", "index.docker.io/alpine:3.20"] {
            assert_eq!(select(Pick::Name(name.to_owned())).unwrap(), 0, "{name}");
        }
        assert_eq!(select(Pick::Index(1)).unwrap(), 1);
        let error = select(Pick::Only).unwrap_err().to_string();
        assert!(error.contains("alpine:3.20 (@0), @1, quay.io/x/y:1 (@2)"), "{error}");
        let error = select(Pick::Name("y:1".to_owned())).unwrap_err();
        assert!(matches!(&error, Error::NoSuchImage { wanted, .. } if wanted == "y:1"), "{error}");
        assert!(matches!(select(Pick::Index(3)).unwrap_err(), Error::NoSuchImage { .. }));
        assert_eq!(super::select(Path::new("a.tar"), &images[2..], &Pick::Only).unwrap().index, 2);
    }
}
