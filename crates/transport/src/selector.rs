//! The selection of one image of an archive.

use std::fmt;
use std::path::Path;

use vmroot_model::{Digest, Reference};

use crate::{Error, Result};

/// The selection of an image of an archive, a layout or a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ImageSelector {
    /// The only image. An error if there are several.
    #[default]
    Only,
    /// The image with this name.
    Name(String),
    /// The image at this index of the list, counted from 0. Written as `@N`.
    Index(usize),
}

impl fmt::Display for ImageSelector {
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
    /// Its index in the archive's list, the `N` of `@N`.
    pub index: usize,
    /// The names that select it, as written in the archive.
    pub names: Vec<String>,
    /// The names that are references, each with a tag. A pulled image is recorded under these.
    pub references: Vec<Reference>,
    /// The id of its parent, if the list names one.
    pub parent: Option<Digest>,
    /// The indexes of its entries in the list. There are several if the list has one entry for each platform.
    pub(crate) entries: Vec<usize>,
}

impl ArchiveImage {
    /// Creates an image that is one entry of the list.
    pub(crate) fn new(index: usize, names: Vec<String>, references: Vec<Reference>) -> Self {
        Self { index, names, references, parent: None, entries: vec![index] }
    }

    /// Returns whether `name` is one of the image's names, or equals one of its references.
    fn has_name(&self, name: &str, reference: Option<&Reference>) -> bool {
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

/// Parses a name as a reference with a tag, by default `latest`. Returns `None` if it is not a reference or has a
/// digest.
pub(crate) fn tagged(name: &str) -> Option<Reference> {
    let reference = Reference::parse(name).ok()?;
    if reference.digest().is_some() {
        return None;
    }
    let tag = reference.tag_or_default()?.to_owned();
    reference.with_tag(&tag).ok()
}

/// Finds the selected image of the archive at `path`.
///
/// An index selects only that entry of an image with several entries.
pub(crate) fn select(path: &Path, images: &[ArchiveImage], selector: &ImageSelector) -> Result<ArchiveImage> {
    if images.is_empty() {
        return Err(Error::NoImages { path: path.to_owned() });
    }
    let reference = match selector {
        ImageSelector::Name(name) => tagged(name),
        ImageSelector::Only | ImageSelector::Index(_) => None,
    };
    let is_selected = |image: &&ArchiveImage| match selector {
        ImageSelector::Only => true,
        ImageSelector::Name(name) => image.has_name(name, reference.as_ref()),
        ImageSelector::Index(index) => image.entries.contains(index),
    };
    let mut selected = images.iter().filter(is_selected);
    match (selected.next(), selected.next()) {
        (Some(image), None) => {
            let mut image = image.clone();
            if let &ImageSelector::Index(index) = selector {
                image.index = index;
                image.entries = vec![index];
            }
            Ok(image)
        }
        (None, _) => Err(Error::NoSuchImage {
            path: path.to_owned(),
            wanted: selector.to_string(),
            available: list(images.iter()),
        }),
        (Some(_), Some(_)) => {
            Err(Error::SeveralImages { path: path.to_owned(), available: list(images.iter().filter(is_selected)) })
        }
    }
}

/// The maximum number of images that an error lists. Archives can hold thousands.
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
    fn selects_by_name_by_index_or_the_only_image() {
        let images = images();
        let select = |selector| select(Path::new("a.tar"), &images, &selector).map(|image| image.index);
        for name in ["alpine:3.20", "alpine", "docker.io/library/alpine:latest", "index.docker.io/alpine:3.20"] {
            assert_eq!(select(ImageSelector::Name(name.to_owned())).unwrap(), 0, "{name}");
        }
        assert_eq!(select(ImageSelector::Index(1)).unwrap(), 1);
        let error = select(ImageSelector::Only).unwrap_err().to_string();
        assert!(error.contains("alpine:3.20 (@0), @1, quay.io/x/y:1 (@2)"), "{error}");
        let error = select(ImageSelector::Name("y:1".to_owned())).unwrap_err();
        assert!(matches!(&error, Error::NoSuchImage { wanted, .. } if wanted == "y:1"), "{error}");
        assert!(matches!(select(ImageSelector::Index(3)).unwrap_err(), Error::NoSuchImage { .. }));
        assert_eq!(super::select(Path::new("a.tar"), &images[2..], &ImageSelector::Only).unwrap().index, 2);
    }
}
