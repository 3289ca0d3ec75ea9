//! The images that an archive has completely.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, Document, Manifest, Platform, Reference};
use vmroot_transport::{Archive, ArchiveImage, ArchiveLists, ImageName, ImageSelector, ImageSource};

use super::selected;
use crate::choose::{ChosenImage, fetch_config};
use crate::{Error, Result, Store};

/// The most documents below one entry of a layout (docs/limits.md).
const DOCUMENTS: usize = 4096;

/// An image of an archive, for one platform.
pub(super) struct Found {
    pub(super) source: Arc<dyn ImageSource>,
    /// The name of the image in the archive, with its transport.
    pub(super) origin: String,
    pub(super) chosen: ChosenImage,
    pub(super) references: Vec<Reference>,
    pub(super) archive: PathBuf,
    /// The number of its entry among those of the archive.
    entry: usize,
}

impl Found {
    /// Returns a value that all platforms of one image of an archive have in common.
    pub(super) fn group(&self) -> (PathBuf, usize) {
        (self.archive.clone(), self.entry)
    }

    /// Returns whether another image has the same config.
    fn is_same(&self, other: &Self) -> bool {
        self.chosen.config.digest() == other.chosen.config.digest()
    }

    fn add_names(&mut self, names: &[Reference]) {
        for name in names {
            // The text is compared, as one name may be written in several forms.
            if !self.references.iter().any(|known| known.to_string() == name.to_string()) {
                self.references.push(name.clone());
            }
        }
    }

    /// Returns whether the image is for one of these platforms.
    pub(super) fn fits(&self, platforms: &[Platform]) -> bool {
        let own = self.chosen.platform.normalised();
        platforms.iter().any(|wanted| own == wanted.normalised() || self.chosen.config.check_platform(wanted).is_ok())
    }
}

/// Finds the images of an archive.
pub(super) fn find_images(
    store: &Store,
    archive: &ArchiveLists,
    selector: Option<&ImageSelector>,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>> {
    let found = match (archive, selector) {
        (ArchiveLists { layout: Some(layout), list: Some(list) }, Some(selector)) => {
            select_in_both(store, layout, list, selector, notes)?
        }
        _ => {
            let mut found = match &archive.layout {
                Some(layout) => merge_same(laid_out(store, layout, selector, archive.list.is_some(), notes)?),
                None => Vec::new(),
            };
            let laid_out = found.len();
            if let Some(list) = &archive.list {
                for entry in selected(list, selector)? {
                    for image in entry_images(store, list, &entry, notes)? {
                        join(&mut found, laid_out, image);
                    }
                }
            }
            found
        }
    };
    Ok(found)
}

/// Finds the images of a layout. If a list follows, it may have an image that is incomplete here.
fn laid_out(
    store: &Store,
    layout: &Archive,
    selector: Option<&ImageSelector>,
    has_list: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in selected(layout, selector)? {
        match entry_images(store, layout, &entry, notes) {
            Ok(images) => found.extend(images),
            // The list of `docker save` may have the image with other members.
            Err(error) if has_list && is_absence(&error) => notes.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Finds one image of an archive with both lists. Positions are those of the list of `docker save`. The layout has the
/// image's digests and its other platforms.
fn select_in_both(
    store: &Store,
    layout: &Archive,
    list: &Archive,
    selector: &ImageSelector,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>> {
    let entries = match selected(list, Some(selector)) {
        Ok(entries) => entries,
        Err(error) => {
            let is_name = matches!(selector, ImageSelector::Name(_));
            let of_layout = if is_name { laid_out(store, layout, Some(selector), false, notes).ok() } else { None };
            return of_layout.ok_or(error);
        }
    };
    let mut wanted = Vec::new();
    for entry in entries {
        wanted.extend(entry_images(store, list, &entry, notes)?);
    }
    let mut found = Vec::new();
    for entry in layout.images().iter().flat_map(|image| layout.entries(image)) {
        // Notes and errors of other images do not matter. Errors of this one are found in the list too.
        let Ok(mut images) = entry_images(store, layout, &entry, &mut Vec::new()) else { continue };
        if images.iter().any(|image| wanted.iter().any(|other| image.is_same(other))) {
            images.iter_mut().for_each(|image| image.references.clear());
            found.extend(images);
        }
    }
    let mut found = merge_same(found);
    let laid_out = found.len();
    wanted.into_iter().for_each(|image| join(&mut found, laid_out, image));
    Ok(found)
}

/// Adds a listed image. If it is one of the first `laid_out` images, those of the layout, they get its names for each
/// platform.
fn join(found: &mut Vec<Found>, laid_out: usize, image: Found) {
    let Some(top) = found.iter().take(laid_out).find(|known| known.is_same(&image)).map(Found::group) else {
        found.push(image);
        return;
    };
    for known in found.iter_mut().filter(|known| known.group() == top) {
        known.origin.clone_from(&image.origin);
        known.add_names(&image.references);
    }
}

/// Joins the entries of one image under several names, so that it is completed once.
fn merge_same(found: Vec<Found>) -> Vec<Found> {
    let mut positions: HashMap<(Digest, Digest), usize> = HashMap::new();
    let mut merged: Vec<Found> = Vec::new();
    for image in found {
        let key = (*image.chosen.top.digest(), *image.chosen.manifest.digest());
        match positions.get(&key) {
            Some(&position) => merged[position].add_names(&image.references),
            None => {
                positions.insert(key, merged.len());
                merged.push(image);
            }
        }
    }
    merged
}

/// Returns the images for all platforms of one entry.
///
/// # Errors
/// The first absence, if no platform is complete.
fn entry_images(store: &Store, archive: &Archive, entry: &ArchiveImage, notes: &mut Vec<String>) -> Result<Vec<Found>> {
    let source: Arc<dyn ImageSource> = match archive.source(entry) {
        Ok(source) => Arc::from(source),
        // An entry of a layout may be another artifact, such as a signature.
        Err(error @ vmroot_transport::Error::Member { .. }) if archive.images().len() > 1 => {
            notes.push(format!("skipped: {error}"));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let raw = source.manifest(None)?;
    let wrong = |error| Error::Image { image: source.name(), source: Box::new(error) };
    let top = Document::parse(raw.bytes, raw.media_type.as_deref()).map_err(wrong)?;
    let mut walk = Walk { store, source: &*source, images: Vec::new(), absence: None, skipped: 0 };
    walk.descend(&top)?;
    let Walk { images, absence, skipped, .. } = walk;
    if images.is_empty() {
        if let Some(absence) = absence {
            return Err(absence);
        }
        if skipped > 0 {
            notes.push(format!("{}: is not an image, and was skipped", source.name()));
            return Ok(Vec::new());
        }
    } else {
        let absence = absence.map(|absence| format!("{}: a platform is incomplete: {absence}", source.name()));
        notes.extend(absence);
        if skipped > 0 {
            notes.push(format!("{}: skipped {skipped} documents that are not images", source.name()));
        }
    }
    let host = Platform::host();
    let mut images = images;
    images.sort_by_cached_key(|image| (image.platform.normalised() != host, image.platform.to_string()));
    let found = images.into_iter().map(|chosen| Found {
        source: Arc::clone(&source),
        origin: ImageName::with_absolute_path(&source.name()),
        chosen,
        references: entry.references.clone(),
        archive: archive.path().to_owned(),
        entry: entry.index,
    });
    Ok(found.collect())
}

/// Returns whether an error says that a part of an image is absent.
fn is_absence(error: &Error) -> bool {
    matches!(error, Error::Source(vmroot_transport::Error::Missing { .. } | vmroot_transport::Error::Unknown { .. }))
}

/// The search for images below a document.
struct Walk<'a> {
    store: &'a Store,
    source: &'a dyn ImageSource,
    images: Vec<ChosenImage>,
    /// The first absent part.
    absence: Option<Error>,
    /// The number of documents that are not images.
    skipped: usize,
}

impl Walk<'_> {
    fn descend(&mut self, top: &Document) -> Result<()> {
        let mut seen: HashSet<Digest> = HashSet::new();
        let mut waiting: VecDeque<(Document, Option<Platform>)> = VecDeque::from([(top.clone(), None)]);
        while let Some((document, platform)) = waiting.pop_front() {
            let index = match document {
                Document::Index(index) => index,
                Document::Manifest(manifest) => {
                    self.add(top, manifest, platform)?;
                    continue;
                }
            };
            for entry in index.manifests() {
                if entry.is_attestation() || !(is_document(entry)) {
                    self.skipped += 1;
                } else if seen.insert(entry.digest) {
                    if seen.len() > DOCUMENTS {
                        return Err(Error::Documents { image: self.source.name(), limit: DOCUMENTS });
                    }
                    waiting.extend(self.read(entry)?.map(|document| (document, entry.platform.clone())));
                }
            }
        }
        Ok(())
    }

    /// Reads a document, or returns `None` if it is absent.
    fn read(&mut self, entry: &Descriptor) -> Result<Option<Document>> {
        let raw = match self.source.read_manifest(entry).map_err(|error| Error::of_source(self.source.name(), error)) {
            Ok(raw) => raw,
            Err(error) => return self.absent(error),
        };
        let parsed = Document::parse(raw.bytes, raw.media_type.as_deref());
        let wrong = |error| Error::Image { image: self.source.name(), source: Box::new(error) };
        parsed.map(Some).map_err(wrong)
    }

    /// Keeps the first absence. Other errors are returned.
    fn absent<T>(&mut self, error: Error) -> Result<Option<T>> {
        if !is_absence(&error) && error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        self.absence.get_or_insert(error);
        Ok(None)
    }

    /// Adds an image whose blobs are all in the archive or in the store.
    fn add(&mut self, top: &Document, manifest: Manifest, platform: Option<Platform>) -> Result<()> {
        if !manifest.is_image() || manifest.artifact_type().is_some() {
            self.skipped += 1;
            return Ok(());
        }
        let config = match fetch_config(self.source, manifest.config()) {
            Ok(config) => config,
            Err(error) => return self.absent::<()>(error).map(drop),
        };
        let wrong = |error| Error::Image { image: self.source.name(), source: Box::new(error) };
        config.check_layers(&manifest).map_err(wrong)?;
        for (layer, diff_id) in manifest.layers().iter().zip(config.diff_ids()) {
            let is_here = || self.store.open_layer(diff_id).is_some();
            let is_stored = self.store.has_blob(&layer.digest);
            if is_stored && is_here() {
                continue;
            }
            if !is_stored && let Err(error) = self.source.blob(layer, 0) {
                return self.absent::<()>(error.into()).map(drop);
            }
        }
        let known = platform.filter(|platform| !platform.architecture.is_empty());
        let platform = known.unwrap_or_else(|| config.platform().clone());
        let platform = if platform.architecture.is_empty() { Platform::host() } else { platform };
        let platform = Platform { os_features: Vec::new(), os_version: None, ..platform }.normalised();
        self.images.push(ChosenImage { top: top.clone(), manifest, config, platform });
        Ok(())
    }
}

/// Returns whether an entry of an index may be a manifest or an index. One without a media type may be either.
fn is_document(entry: &Descriptor) -> bool {
    let media_type = &entry.media_type;
    media_type.is_empty() || media_type.is_manifest() || media_type.is_index()
}
