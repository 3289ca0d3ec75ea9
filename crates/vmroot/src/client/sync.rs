//! Synchronisation of many images between registries, directories and OCI layouts.

use std::fs;
use std::path::{Path, PathBuf};

use vmroot_model::Reference;
use vmroot_transport::{Archive, Format, ImageName, ImageSelector};

use super::Client;
use crate::{Error, Result};

/// The images of a [`Client::plan_sync`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SyncSource<'a> {
    /// All tags of a repository, or the one image of a reference with a tag or a digest.
    Registry(Reference),
    /// The tags of a repository that a filter of a [`SyncList`](vmroot_copy::sync::SyncList) chooses.
    Tags(Reference, vmroot_copy::sync::TagFilter<'a>),
    /// All `dir:` directories in a directory.
    Directory(PathBuf),
    /// All named images of an OCI layout.
    Layout(PathBuf),
}

/// The place that [`Client::plan_sync`] copies to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SyncDestination {
    /// A registry, or a prefix of repositories in it, such as `registry.example/mirror`.
    Registry(String),
    /// A directory, which gets one `dir:` directory for each image.
    Directory(PathBuf),
    /// An OCI layout.
    Layout(PathBuf),
}

/// Options of [`Client::plan_sync`].
#[derive(Debug, Clone, Default)]
pub struct SyncOptions {
    /// Whether the names in the destination contain the whole name of the source, with its registry. Otherwise they are
    /// its last component, and images of equal names replace each other.
    pub scoped: bool,
    /// A text that is appended to the names in the destination.
    pub append_suffix: String,
}

/// One image of a synchronisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncItem {
    /// The image.
    pub source: ImageName,
    /// The place of its copy.
    pub destination: ImageName,
}

impl Client {
    /// Returns the copies that synchronise a destination with a source, in the order of the source.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound): the source does not exist, or has no images.
    /// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): a name in the destination would be malformed.
    /// - The registry cannot list the tags, or the directory cannot be read.
    pub fn plan_sync(
        &self,
        source: &SyncSource<'_>,
        destination: &SyncDestination,
        options: &SyncOptions,
    ) -> Result<Vec<SyncItem>> {
        let images = match source {
            SyncSource::Registry(reference) => self.repository_images(reference)?,
            SyncSource::Tags(reference, filter) => self.filtered_images(reference, *filter)?,
            SyncSource::Directory(path) => directory_images(path)?,
            SyncSource::Layout(path) => self.layout_images(path)?,
        };
        if images.is_empty() {
            let path = match source {
                SyncSource::Registry(reference) => return Err(no_tags(reference)),
                SyncSource::Tags(reference, _) => return Err(no_tags(reference)),
                SyncSource::Directory(path) | SyncSource::Layout(path) => path.clone(),
            };
            return Err(vmroot_transport::Error::NoImages { path }.into());
        }
        let item = |(source, name): (ImageName, String)| {
            let destination = place(&name, destination, options)?;
            Ok(SyncItem { source, destination })
        };
        images.into_iter().map(item).collect()
    }

    fn repository_images(&self, reference: &Reference) -> Result<Vec<(ImageName, String)>> {
        if reference.tag().is_some() || reference.digest().is_some() {
            return Ok(vec![(ImageName::Docker(reference.clone()), reference.to_string())]);
        }
        let tags = self.registry().tags(reference)?.tags;
        // Some registries list digests and other texts that are no tags.
        let tagged = tags.iter().filter_map(|tag| reference.with_tag(tag).ok());
        Ok(tagged.map(|tagged| (ImageName::Docker(tagged.clone()), tagged.to_string())).collect())
    }

    fn filtered_images(
        &self,
        reference: &Reference,
        filter: vmroot_copy::sync::TagFilter<'_>,
    ) -> Result<Vec<(ImageName, String)>> {
        let tags = self.registry().tags(reference)?.tags;
        let chosen = filter.select(&tags);
        let tagged = chosen.iter().filter_map(|tag| reference.with_tag(tag).ok());
        Ok(tagged.map(|tagged| (ImageName::Docker(tagged.clone()), tagged.to_string())).collect())
    }

    fn layout_images(&self, path: &Path) -> Result<Vec<(ImageName, String)>> {
        let layout = Archive::open_as(Format::OciLayout, path, &self.archive_options())?;
        let named = layout.images().iter().filter_map(|image| image.names.last());
        let name = |name: &String| {
            let selector = ImageSelector::Name(name.clone());
            let image = ImageName::Archive { format: Format::OciLayout, path: path.to_owned(), selector };
            (image, name.clone())
        };
        Ok(named.map(name).collect())
    }
}

/// Returns the `dir:` directories in a directory, with their paths in it.
fn directory_images(base: &Path) -> Result<Vec<(ImageName, String)>> {
    let mut images = Vec::new();
    let mut pending = vec![base.to_owned()];
    while let Some(path) = pending.pop() {
        if path.join("manifest.json").is_file() {
            let name = match path.strip_prefix(base) {
                Ok(inner) if !inner.as_os_str().is_empty() => inner,
                _ => Path::new(path.file_name().unwrap_or_default()),
            };
            let name = name.to_string_lossy().into_owned();
            images.push((ImageName::Archive { format: Format::Dir, path, selector: ImageSelector::Only }, name));
            continue;
        }
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        let mut entries = entries.map_err(|error| Error::io(&path, error))?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
        // A symbolic link may lead back up.
        pending.extend(entries.iter().filter(|it| it.file_type().is_ok_and(|it| it.is_dir())).map(|it| it.path()));
    }
    Ok(images)
}

/// Returns the name of an image in the destination.
fn place(name: &str, destination: &SyncDestination, options: &SyncOptions) -> Result<ImageName> {
    let name = if options.scoped { name } else { name.rsplit('/').next().unwrap_or(name) };
    let name = format!("{name}{}", options.append_suffix);
    Ok(match destination {
        SyncDestination::Registry(prefix) => {
            ImageName::Docker(Reference::parse(&format!("{}/{name}", prefix.trim_end_matches('/')))?)
        }
        SyncDestination::Directory(path) => {
            ImageName::Archive { format: Format::Dir, path: path.join(name), selector: ImageSelector::Only }
        }
        SyncDestination::Layout(path) => {
            ImageName::Archive { format: Format::OciLayout, path: path.clone(), selector: ImageSelector::Name(name) }
        }
    })
}

fn no_tags(reference: &Reference) -> Error {
    vmroot_transport::Error::NoImages { path: PathBuf::from(reference.name()) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_skopeo() {
        let registry = |text: &str| SyncDestination::Registry(text.to_owned());
        let directory = SyncDestination::Directory("/media/usb".into());
        let layout = SyncDestination::Layout("layout".into());
        let options = |scoped, suffix: &str| SyncOptions { scoped, append_suffix: suffix.to_owned() };
        let busybox = "registry.example/a/busybox:1-musl";
        for (name, destination, options, expected) in [
            (busybox, registry("my.lan"), options(false, ""), "docker://my.lan/busybox:1-musl"),
            (busybox, registry("my.lan/repo/"), options(false, "-x"), "docker://my.lan/repo/busybox:1-musl-x"),
            (busybox, registry("my.lan"), options(true, ""), "docker://my.lan/registry.example/a/busybox:1-musl"),
            (busybox, directory.clone(), options(false, ""), "dir:/media/usb/busybox:1-musl"),
            (busybox, directory, options(true, ""), "dir:/media/usb/registry.example/a/busybox:1-musl"),
            (busybox, layout, options(false, ""), "oci:layout:busybox:1-musl"),
        ] {
            assert_eq!(place(name, &destination, &options).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn directories_are_walked() {
        let base = tempfile::tempdir().unwrap();
        for image in ["b:1", "a/x:2"] {
            fs::create_dir_all(base.path().join(image)).unwrap();
            fs::write(base.path().join(image).join("manifest.json"), "{}").unwrap();
        }
        let names = |path: &Path| directory_images(path).unwrap().into_iter().map(|it| it.1).collect::<Vec<_>>();
        assert_eq!(names(base.path()), ["a/x:2", "b:1"]);
        assert_eq!(names(&base.path().join("b:1")), ["b:1"]);
    }
}
