//! The images that an archive has completely.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use vmroot_errors::ErrorKind;
use vmroot_model::{Descriptor, Digest, Document, Index, Manifest, Platform, Reference};
use vmroot_transport::{Archive, ArchiveImage, ArchiveLists, ImageSelector, ImageSource};

use super::selected;
use crate::choose::{ChosenImage, fetch_config};
use crate::{Error, Result, Store};

/// The maximum number of documents below one entry of a layout.
const DOCUMENTS: usize = 4096;

/// The maximum depth of indexes in indexes.
const NESTED_INDEXES: usize = 8;

/// The maximum number of bytes of all manifests, indexes and configs of a load. They are in memory until its end.
const DOCUMENT_BYTES: u64 = 256 << 20;

/// Facts about the archives of a load.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Notes on parts that are not loaded.
    pub(super) notes: Vec<String>,
    /// The bytes of the documents so far.
    bytes: u64,
}

impl Reading {
    /// Counts the bytes of a document of an image.
    fn keep(&mut self, image: &dyn ImageSource, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        if self.bytes > DOCUMENT_BYTES {
            let (what, name) = ("bytes of manifests, indexes and configs of one load", "DOCUMENT_BYTES");
            return Err(Error::Documents { image: image.name(), what, limit: DOCUMENT_BYTES, name });
        }
        Ok(())
    }
}

/// An image of an archive, for one platform.
pub(super) struct Found {
    pub(super) source: Arc<dyn ImageSource>,
    /// The name of the image in the archive, with its transport.
    pub(super) origin: String,
    pub(super) chosen: ChosenImage,
    pub(super) references: Vec<Reference>,
    /// The id of the parent, as the archive names it.
    pub(super) parent: Option<Digest>,
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

    fn has_name(&self, name: &Reference) -> bool {
        // The text is compared, as one name may be written in several forms.
        self.references.iter().any(|known| known.to_string() == name.to_string())
    }

    fn add_names(&mut self, names: &[Reference]) {
        for name in names {
            if !self.has_name(name) {
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
    reading: &mut Reading,
) -> Result<Vec<Found>> {
    let found = match (archive, selector) {
        (ArchiveLists { layout: Some(layout), list: Some(list) }, Some(selector)) => {
            select_in_both(store, layout, list, selector, reading)?
        }
        _ => {
            let mut found = match &archive.layout {
                Some(layout) => merge_same(laid_out(store, layout, selector, archive.list.is_some(), reading)?),
                None => Vec::new(),
            };
            let laid_out = found.len();
            if let Some(list) = &archive.list {
                for entry in selected(list, selector)? {
                    for image in entry_images(store, list, &entry, reading)? {
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
    reading: &mut Reading,
) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in selected(layout, selector)? {
        match entry_images(store, layout, &entry, reading) {
            Ok(images) => found.extend(images),
            // The list of `docker save` may have the image with other members.
            Err(error) if has_list && is_absence(&error) => reading.notes.push(error.to_string()),
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
    reading: &mut Reading,
) -> Result<Vec<Found>> {
    let entries = match selected(list, Some(selector)) {
        Ok(entries) => entries,
        Err(error) => {
            let is_name = matches!(selector, ImageSelector::Name(_));
            let of_layout = if is_name { laid_out(store, layout, Some(selector), false, reading).ok() } else { None };
            return of_layout.ok_or(error);
        }
    };
    let mut wanted = Vec::new();
    for entry in entries {
        wanted.extend(entry_images(store, list, &entry, reading)?);
    }
    let mut found = Vec::new();
    for entry in layout.images().iter().flat_map(|image| layout.entries(image)) {
        // Notes and errors of other images do not matter. Errors of this one are found in the list too.
        let noted = reading.notes.len();
        let images = entry_images(store, layout, &entry, reading);
        reading.notes.truncate(noted);
        let Ok(mut images) = images else { continue };
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
    let of_layout = &found[..laid_out];
    let Some(top) = of_layout.iter().find(|known| known.is_same(&image)).map(Found::group) else {
        found.push(image);
        return;
    };
    // A name that the layout gives to one image is not that of another one with the same config.
    let is_taken = |name: &Reference| of_layout.iter().any(|known| known.group() != top && known.has_name(name));
    let names: Vec<Reference> = image.references.iter().filter(|name| !is_taken(name)).cloned().collect();
    for known in found.iter_mut().filter(|known| known.group() == top) {
        known.origin.clone_from(&image.origin);
        if known.is_same(&image) {
            known.parent = known.parent.or(image.parent);
        }
        known.add_names(&names);
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
fn entry_images(store: &Store, archive: &Archive, entry: &ArchiveImage, reading: &mut Reading) -> Result<Vec<Found>> {
    let source: Arc<dyn ImageSource> = match archive.source(entry) {
        Ok(source) => Arc::from(source),
        // An entry of a layout may be another artifact, such as a signature.
        Err(error @ vmroot_transport::Error::Member { .. }) if archive.images().len() > 1 => {
            reading.notes.push(format!("skipped: {error}"));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let raw = source.manifest(None)?;
    let wrong = |error| Error::Image { image: source.name(), source: Box::new(error) };
    let top = Document::parse(raw.bytes, raw.media_type.as_deref()).map_err(wrong)?;
    reading.keep(&*source, top.raw())?;
    let mut walk =
        Walk { store, source: &*source, reading: &mut *reading, images: Vec::new(), absence: None, skipped: 0 };
    walk.descend(&Arc::new(top))?;
    let Walk { images, absence, skipped, .. } = walk;
    let notes = &mut reading.notes;
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
    let mut platforms = HashSet::new();
    let (mut images, others): (Vec<_>, Vec<_>) =
        images.into_iter().partition(|image| platforms.insert(image.platform.normalised()));
    let note = |image: ChosenImage| {
        format!("{}: skipped {}, one more image for {}", source.name(), image.manifest.digest(), image.platform)
    };
    notes.extend(others.into_iter().map(note));
    images.sort_by_cached_key(|image| (image.platform.normalised() != host, image.platform.to_string()));
    let found = images.into_iter().map(|chosen| Found {
        source: Arc::clone(&source),
        origin: source.name(),
        chosen,
        references: entry.references.clone(),
        parent: entry.parent,
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
    reading: &'a mut Reading,
    images: Vec<ChosenImage>,
    /// The first absent part.
    absence: Option<Error>,
    /// The number of documents that are not images.
    skipped: usize,
}

impl Walk<'_> {
    fn descend(&mut self, top: &Arc<Document>) -> Result<()> {
        match &**top {
            Document::Manifest(manifest) => self.add(top, &[], manifest.clone(), None),
            Document::Index(index) => self.enter(top, index, &mut Vec::new(), &mut HashSet::new()),
        }
    }

    /// Adds the images of an index. `path` has the indexes between it and the top one, and itself.
    fn enter(
        &mut self,
        top: &Arc<Document>,
        index: &Index,
        path: &mut Vec<Arc<Index>>,
        seen: &mut HashSet<Digest>,
    ) -> Result<()> {
        let source = self.source;
        let over =
            |what, limit: usize, name| Err(Error::Documents { image: source.name(), what, limit: limit as u64, name });
        if path.len() > NESTED_INDEXES {
            return over("levels of indexes in indexes", NESTED_INDEXES, "NESTED_INDEXES");
        }
        for entry in index.manifests() {
            if entry.is_attestation() || !is_document(entry) {
                self.skipped += 1;
                continue;
            }
            if !seen.insert(entry.digest) {
                continue;
            }
            if seen.len() > DOCUMENTS {
                return over("manifests and indexes below one entry", DOCUMENTS, "DOCUMENTS");
            }
            match self.read(entry)? {
                None => {}
                Some(Document::Manifest(manifest)) => self.add(top, path, manifest, entry.platform.clone())?,
                Some(Document::Index(nested)) => {
                    let nested = Arc::new(nested);
                    path.push(Arc::clone(&nested));
                    self.enter(top, &nested, path, seen)?;
                    path.pop();
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
        self.reading.keep(self.source, &raw.bytes)?;
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
    fn add(
        &mut self,
        top: &Arc<Document>,
        indexes: &[Arc<Index>],
        manifest: Manifest,
        platform: Option<Platform>,
    ) -> Result<()> {
        if !manifest.is_image() || manifest.artifact_type().is_some() {
            self.skipped += 1;
            return Ok(());
        }
        let config = match fetch_config(self.source, manifest.config()) {
            Ok(config) => config,
            Err(error) => return self.absent::<()>(error).map(drop),
        };
        let wrong = |error| Error::Image { image: self.source.name(), source: Box::new(error) };
        self.reading.keep(self.source, config.raw())?;
        config.check_layers(&manifest).map_err(wrong)?;
        for (layer, diff_id) in manifest.layers().iter().zip(config.diff_ids()) {
            let is_here = || self.store.open_layer(diff_id).is_some();
            let is_stored = self.store.cache.get(&layer.digest)?.is_some();
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
        self.images.push(ChosenImage { top: Arc::clone(top), indexes: indexes.to_vec(), manifest, config, platform });
        Ok(())
    }
}

/// Returns whether an entry of an index may be a manifest or an index. One without a media type may be either.
fn is_document(entry: &Descriptor) -> bool {
    let media_type = &entry.media_type;
    media_type.is_empty() || media_type.is_manifest() || media_type.is_index()
}
