//! Loading of all images of archives, or of none.

mod find;
mod parents;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use vmroot_model::{Digest, Platform, Reference};
use vmroot_transport::{Admission, Archive, ArchiveLists, ImageSelector};

use self::find::{Found, Reading, find_images};
use crate::lookup::other_platforms;
use crate::signatures::KeptSignatures;
use crate::{Error, Image, Moved, Progress, Record, Result, Store};

/// Options of [`Store::load`].
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The platforms to load. Each must be that of an image. If there are none, an image is loaded for each platform that its archive has, provided that
    /// it has the host's platform or is for one platform only.
    pub platforms: Vec<Platform>,
    /// Whether to load all platforms of an image even if the host's is not one of them.
    pub all_platforms: bool,
    /// The image to load from each archive. `None` stands for all images.
    pub selector: Option<ImageSelector>,
    /// The policy that each image must meet. It is asked before anything is stored.
    pub admission: Option<Admission>,
}

/// The images that [`Store::load`] has loaded.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// The images, in the order of the archives and their lists. Of one image, the one for the host's platform is first.
    pub images: Vec<LoadedImage>,
    /// Notes on parts that were not loaded: other kinds of documents, and platforms whose blobs are absent.
    pub notes: Vec<String>,
}

/// A loaded image for one platform.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadedImage {
    /// The image.
    pub image: Image,
    /// Its names in the archive.
    pub references: Vec<Reference>,
    /// The names that another image had before.
    pub moved: Vec<Moved>,
    /// The archive.
    pub archive: PathBuf,
    /// Whether this is one more platform of the image before it.
    pub is_further_platform: bool,
}

impl LoadReport {
    /// Returns a line for each name or image, as `docker load` prints them.
    pub fn messages(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for loaded in &self.images {
            lines.extend(loaded.moved.iter().map(|moved| {
                let name = moved.reference.familiar();
                format!("The image {name} already exists, renaming the old one with ID {} to empty string", moved.from)
            }));
            let platform = match loaded.is_further_platform {
                true => format!(" ({})", loaded.image.record().platform),
                false => String::new(),
            };
            if loaded.references.is_empty() {
                lines.push(format!("Loaded image ID: {}{platform}", loaded.image.id()));
            }
            let named = loaded.references.iter();
            lines.extend(named.map(|reference| format!("Loaded image: {}{platform}", reference.familiar())));
        }
        lines
    }
}

impl Store {
    /// Loads the images of archives under their names in the archives: all of them, or none.
    ///
    /// All blobs, layers and roots are complete before the first name is recorded. Layers that the store has are not indexed again.
    /// Of a tar that is both an OCI layout and a docker save archive, the layout gives the digests of the manifests, and
    /// images that it lacks come from the list.
    ///
    /// # Errors
    /// - [`Error::OtherPlatforms`]: the archives have no image for one of the platforms.
    /// - [`Error::Source`]: an archive cannot be read, a blob is missing in it, or the policy does not accept an image.
    /// - [`Error::Blob`], [`Error::Layer`], [`Error::Decompress`] or [`Error::Image`]: bytes of an archive are invalid.
    /// - [`Error::Cache`], [`Error::Index`] or [`Error::Root`]: files of the store cannot be read or written.
    /// - [`Error::Budget`]: the cache would be larger than [`StoreOptions::max_size`](crate::StoreOptions::max_size).
    /// - [`Error::Cancelled`]: the work was cancelled.
    pub fn load(
        &self,
        archives: &[ArchiveLists],
        options: &LoadOptions,
        progress: &Arc<dyn Progress>,
    ) -> Result<LoadReport> {
        let loaded = self.load_all(archives, options, progress);
        if matches!(loaded, Err(Error::Budget { .. })) {
            // The images that were complete before.
            self.collect()?;
        }
        loaded
    }

    fn load_all(
        &self,
        archives: &[ArchiveLists],
        options: &LoadOptions,
        progress: &Arc<dyn Progress>,
    ) -> Result<LoadReport> {
        self.cache.check_writable()?;
        let mut reading = Reading::default();
        let mut found = Vec::new();
        for archive in archives {
            found.extend(find_images(self, archive, options.selector.as_ref(), &mut reading)?);
        }
        let mut report = LoadReport { images: Vec::new(), notes: reading.notes };
        let fitting: Vec<Found> = select_platforms(found, options, &mut report.notes)?;
        let parents = parents::among(&fitting, &mut report.notes);
        let mut kept = Vec::new();
        for found in &fitting {
            self.check_cancelled()?;
            kept.push(self.admit(options.admission.as_ref(), &*found.source, &found.chosen)?);
        }
        let mut previous = None;
        for (found, kept) in fitting.into_iter().zip(kept) {
            self.check_cancelled()?;
            let image = found.group();
            let is_further_platform = previous.replace(image.clone()) == Some(image);
            report.images.push(self.complete_found(found, &kept, is_further_platform, progress)?);
        }
        self.record_loaded(&mut report.images, &parents, &**progress)?;
        Ok(report)
    }

    /// Stores the blobs, layers and root of an image, and pins them.
    fn complete_found(
        &self,
        found: Found,
        kept: &KeptSignatures,
        is_further_platform: bool,
        progress: &Arc<dyn Progress>,
    ) -> Result<LoadedImage> {
        let Found { source, origin, chosen, references, archive, .. } = found;
        let signatures = kept.to_document().map(|(digest, _)| digest);
        let record = Record { loaded_from: Some(origin), signatures, ..chosen.record(&chosen.platform) };
        let pin = self.in_use.pin(&record)?;
        let pin = self.within_budget(&record.with_reference(references.first()), pin, progress, || {
            self.keep_documents(&chosen, &**progress)?;
            self.keep_signatures(kept, &**progress)?;
            self.ensure_complete(&*source, &record, progress)
        })?;
        let record = record.with_reference(references.first());
        let image = Image::new(record, chosen.config, pin);
        Ok(LoadedImage { image, references, moved: Vec::new(), archive, is_further_platform })
    }

    /// Records the names of all images as one transaction, and reports those that move.
    fn record_loaded(
        &self,
        images: &mut [LoadedImage],
        parents: &BTreeMap<Digest, Digest>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut records: Vec<Record> = Vec::new();
        for loaded in &*images {
            let record = loaded.image.record();
            for reference in &loaded.references {
                let named = record.with_reference(Some(reference));
                // A later image of the archives takes the name of an earlier one.
                if let Some(earlier) = records
                    .iter_mut()
                    .find(|other| other.reference == named.reference && other.platform == named.platform)
                {
                    *earlier = named;
                } else {
                    records.push(named);
                }
            }
            if loaded.references.is_empty() {
                records.push(record.with_reference(None));
            }
        }
        let moved = self.write_family(&records, parents, progress)?;
        for loaded in images {
            let own = |moved: &&Moved| loaded.references.contains(&moved.reference) && moved.to == *loaded.image.id();
            loaded.moved = moved.iter().filter(own).cloned().collect();
        }
        Ok(())
    }
}

/// Keeps the images for the wanted platforms.
fn select_platforms(found: Vec<Found>, options: &LoadOptions, notes: &mut Vec<String>) -> Result<Vec<Found>> {
    let platforms = &options.platforms;
    if platforms.is_empty() {
        if !options.all_platforms {
            check_host(&found)?;
        }
        return Ok(found);
    }
    let is_missing = |wanted: &&Platform| !found.iter().any(|found| found.fits(std::slice::from_ref(*wanted)));
    if let Some(missing) = platforms.iter().find(is_missing)
        && !found.is_empty()
    {
        return Err(only_others(&found, missing));
    }
    let (fitting, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.fits(platforms));
    let skipped = others.iter().map(|it| format!("{}: skipped the image for {}", it.source.name(), it.chosen.platform));
    notes.extend(skipped);
    Ok(fitting)
}

/// Checks that each image for several platforms has the host's. None of the others is preferred.
fn check_host(found: &[Found]) -> Result<()> {
    let host = [Platform::host()];
    for image in found.chunk_by(|left, right| left.group() == right.group()) {
        if image.len() > 1 && !image.iter().any(|one| one.fits(&host)) {
            return Err(only_others(image, &host[0]));
        }
    }
    Ok(())
}

/// Returns the error for images that are not for a platform.
fn only_others(images: &[Found], wanted: &Platform) -> Error {
    let records: Vec<Record> = images.iter().map(|found| found.chosen.record(&found.chosen.platform)).collect();
    other_platforms(&images[0].source.name(), wanted, &records.iter().collect::<Vec<_>>())
}

/// Returns the images of an archive that a selector selects, each as its entries.
fn selected(archive: &Archive, selector: Option<&ImageSelector>) -> Result<Vec<vmroot_transport::ArchiveImage>> {
    let images = match selector {
        Some(selector) => vec![archive.select(selector).map_err(Error::Source)?],
        None => archive.images().to_vec(),
    };
    Ok(images.iter().flat_map(|image| archive.entries(image)).collect())
}
