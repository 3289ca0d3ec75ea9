//! Copying a list of images.

use vmroot_model::{Descriptor, Digest, Document, Index, LayerCompression, Manifest, Platform, Search};
use vmroot_model::{IndexFormat, Instance, ManifestFormat};
use vmroot_transport::ManifestPlace;

use crate::copier::{Copied, Job};
use crate::image::invalidates;
use crate::{Error, ListForm, Result, Selection, plan};

/// The most lists that contain each other.
const DEPTH_LIMIT: usize = 8;

/// The annotation with the digest of the image that an attestation is about (BuildKit, attestation-storage.md).
const ATTESTED: &str = "vnd.docker.reference.digest";

impl Job<'_> {
    /// Returns the manifest of a list for a platform. Nested lists are searched.
    pub(crate) fn find_instance(&self, index: Index, platform: &Platform) -> Result<Manifest> {
        let mut search = Search::new(platform);
        let mut document = match index.choose_instance(platform, false) {
            Ok(entry) => {
                self.signatures.enter(&index);
                self.read_document(entry)?
            }
            Err(_) => Document::Index(index),
        };
        loop {
            match document {
                Document::Manifest(manifest) => return Ok(manifest),
                Document::Index(index) => {
                    search.enter(&index);
                    self.signatures.enter(&index);
                }
            }
            let next = search.next_candidate().map_err(|error| self.document_error(error))?;
            self.signatures.leave_others(&next.digest);
            document = self.read_document(&next)?;
        }
    }

    /// Copies the chosen images of a list, and then the list.
    pub(crate) fn copy_list(&self, index: &Index, place: ManifestPlace, depth: usize) -> Result<Copied> {
        if depth == DEPTH_LIMIT {
            return Err(Error::TooDeep { place: self.source.name(), limit: DEPTH_LIMIT });
        }
        // The images of a list are judged one by one. A list without them is judged itself.
        if self.options().selection == Selection::IndexOnly {
            self.prepare(index.raw(), index.digest(), place)?;
        } else {
            self.prepare_list(index, place)?;
        }
        let format = self.list_format(index, place)?;
        self.check_digest(index.raw(), &index.descriptor().media_type, place)
            .map_err(|error| self.destination_error(error))?;
        let chosen = self.chosen(index, place);
        self.signatures.enter(index);
        let (count, mut copied_before) = (chosen.iter().filter(|is_chosen| **is_chosen).count(), 0);
        self.note_absent(index, place);
        let mut edit = index.edit();
        let mut unchanged = Vec::new();
        let loses_attestations = loses_attestations(index.format(), format);
        let mut attestations = 0;
        for (number, entry) in index.manifests().iter().enumerate() {
            if !chosen[number] {
                if self.strips(entry, place) {
                    edit.remove(number);
                }
                continue;
            }
            if loses_attestations && entry.is_attestation() {
                edit.remove(number);
                attestations += 1;
                continue;
            }
            copied_before += 1;
            let name = self.source.name();
            let message = format!("copying {copied_before} of {count} of {name}: {}", describe(entry));
            self.copier.progress.message(&message);
            let copied = self.copy_entry(entry, place, depth)?;
            let is_same = copied.is_same();
            unchanged.extend(copied.unchanged);
            // The entry of an unchanged image stays. Its digest may have another algorithm.
            if !is_same {
                edit.replace(number, instance(copied.descriptor, self.writes_zstd()));
            }
        }
        self.signatures.leave();
        if attestations > 0 {
            self.tally.lose(format!(
                "{attestations} attestations are omitted: a Docker list cannot say which image they are about"
            ));
        }
        let edited = edit.finish_as(format, &Platform::host()).map_err(|error| self.document_error(error))?;
        edited.losses.iter().for_each(|loss| self.tally.lose(loss.to_string()));
        let descriptor = Descriptor::of(edited.media_type, &edited.bytes);
        if descriptor.digest == *index.digest() {
            unchanged.push(descriptor.digest);
        } else if self.is_fixed(index.digest(), place) {
            let reason = format!("its list would become {}", descriptor.digest);
            let reason = if self.is_signed(index.digest()) { invalidates(&reason) } else { reason };
            return Err(Error::MustNotChange { from: self.source.name(), to: self.destination.name(), reason });
        }
        self.put_manifest(&edited.bytes, &descriptor.media_type, place)
            .map_err(|error| self.destination_error(error))?;
        let copied = Copied { descriptor, unchanged };
        self.put_signatures(index.digest(), &copied, place)?;
        Ok(copied)
    }

    /// Fails if a list has no image for one of several chosen platforms.
    pub(crate) fn check_platforms(&self, top: &Document) -> Result<()> {
        match (top, &self.options().selection) {
            (Document::Index(index), Selection::Platforms { platforms, .. }) => {
                platforms.iter().try_for_each(|platform| self.check_listed(index, platform))
            }
            _ => Ok(()),
        }
    }

    fn check_listed(&self, index: &Index, platform: &Platform) -> Result<()> {
        let is_listed = |entry: &Descriptor| {
            entry.platform.as_ref().is_some_and(|own| includes(platform, own))
                && self.source.has_instance(&entry.digest)
        };
        if index.manifests().iter().any(is_listed) {
            return Ok(());
        }
        let own = |entry: &Descriptor| entry.platform.clone().filter(|_| self.source.has_instance(&entry.digest));
        let mut available: Vec<Platform> =
            index.manifests().iter().filter(|it| !it.is_attestation()).filter_map(own).collect();
        available.dedup();
        let names: Vec<String> = available.iter().map(ToString::to_string).collect();
        Err(self.document_error(vmroot_model::Error::ArchitectureMismatch {
            expected: platform.to_string(),
            actual: names.join(", "),
            available,
        }))
    }

    /// Returns the list that the destination gets if no image changes, and the digests of its images. `None` if that is
    /// not known before the copy.
    pub(crate) fn expected_list(&self, index: &Index) -> Result<Option<(Descriptor, Vec<Digest>)>> {
        let is_sparse = matches!(self.options().selection, Selection::Platforms { list: ListForm::Sparse, .. });
        if is_sparse || self.options().selection == Selection::IndexOnly {
            return Ok(None);
        }
        let chosen = self.chosen(index, ManifestPlace::Top);
        let mut instances = Vec::new();
        let mut edit = index.edit();
        for (number, entry) in index.manifests().iter().enumerate() {
            match chosen[number] {
                true => instances.push(entry.digest),
                false => edit.remove(number),
            }
        }
        if instances.len() == index.manifests().len() {
            return Ok(Some((index.descriptor(), instances)));
        }
        let edited = edit.finish_as(index.format(), &Platform::host()).map_err(|error| self.document_error(error))?;
        Ok(Some((Descriptor::of(edited.media_type, &edited.bytes), instances)))
    }

    /// Notes the documents of a list that the source does not have.
    fn note_absent(&self, index: &Index, place: ManifestPlace) {
        let absent = index.manifests().iter().filter(|entry| self.strips_absent(entry, place)).count();
        if absent > 0 {
            let (all, name) = (index.manifests().len(), self.source.name());
            self.tally
                .lose(format!("{name} has {} of the {all} images of its list; the others are omitted", all - absent));
        }
    }

    fn copy_entry(&self, entry: &Descriptor, list: ManifestPlace, depth: usize) -> Result<Copied> {
        let place = match list {
            // The images of a referrer stay as they are, too.
            ManifestPlace::Referrer => ManifestPlace::Referrer,
            ManifestPlace::Top | ManifestPlace::Instance => ManifestPlace::Instance,
        };
        match self.read_document(entry)? {
            Document::Manifest(manifest) => self.copy_image(&manifest, place),
            Document::Index(index) => self.copy_list(&index, place, depth + 1),
        }
    }

    /// Returns the format of the list in the destination.
    fn list_format(&self, index: &Index, place: ManifestPlace) -> Result<IndexFormat> {
        let accepts = self.destination.accepts();
        let is_fixed = self.is_fixed(index.digest(), place);
        let wanted = match self.options().format {
            _ if is_fixed => vec![index.format()],
            Some(ManifestFormat::Oci) => vec![IndexFormat::Oci],
            Some(ManifestFormat::Schema2) => vec![IndexFormat::DockerList],
            Some(ManifestFormat::Schema1) => Vec::new(),
            None => vec![index.format(), IndexFormat::Oci, IndexFormat::DockerList],
        };
        let is_exact = is_fixed || self.options().format.is_some();
        let is_taken = |media_type| match is_exact {
            true => self.destination.can_hold(&media_type),
            false => accepts.accepts(&media_type),
        };
        wanted.into_iter().find(|it| is_taken(it.media_type())).ok_or_else(|| {
            let (reason, remedy) = match self.options().format {
                Some(ManifestFormat::Schema1) => ("schema 1 has no lists", "choose an image with --platform"),
                _ => ("it holds single images", "choose an image with --platform, or leave out --all"),
            };
            self.refused(index.media_type(), reason.to_owned(), Some(remedy))
        })
    }

    /// Returns whether the layers get zstd.
    fn writes_zstd(&self) -> bool {
        let target = plan::requested(&self.destination.accepts(), self.options());
        target.is_some_and(|target| plan::compression(target) == LayerCompression::Zstd)
    }

    /// Returns whether each entry of the list is copied.
    fn chosen(&self, index: &Index, place: ManifestPlace) -> Vec<bool> {
        let entries = index.manifests();
        match &self.options().selection {
            _ if place == ManifestPlace::Referrer => vec![true; entries.len()],
            Selection::IndexOnly => vec![false; entries.len()],
            Selection::Platforms { platforms, .. } => {
                let is_wanted = |entry: &Descriptor| {
                    entry.platform.as_ref().is_some_and(|own| platforms.iter().any(|wanted| includes(wanted, own)))
                };
                let wanted: Vec<Digest> = entries.iter().filter(|it| is_wanted(it)).map(|it| it.digest).collect();
                let is_about_wanted = |entry: &Descriptor| {
                    entry.annotation(ATTESTED).is_some_and(|text| wanted.iter().any(|it| it.to_string() == text))
                };
                entries.iter().map(|entry| is_wanted(entry) || is_about_wanted(entry)).collect()
            }
            Selection::Platform(_) | Selection::All => {
                entries.iter().map(|entry| self.source.has_instance(&entry.digest)).collect()
            }
        }
    }

    /// Returns whether an entry that is not chosen is removed from the list.
    fn strips(&self, entry: &Descriptor, place: ManifestPlace) -> bool {
        let is_stripped = matches!(self.options().selection, Selection::Platforms { list: ListForm::Stripped, .. });
        place != ManifestPlace::Referrer && is_stripped || self.strips_absent(entry, place)
    }

    /// Returns whether all images are wanted, but the source does not have this one.
    fn strips_absent(&self, entry: &Descriptor, place: ManifestPlace) -> bool {
        let wants_all = matches!(self.options().selection, Selection::Platform(_) | Selection::All);
        wants_all && place != ManifestPlace::Referrer && !self.source.has_instance(&entry.digest)
    }
}

/// Returns whether an image for `own` is one for `wanted`, whose variant may be missing.
fn includes(wanted: &Platform, own: &Platform) -> bool {
    let (wanted, own) = (wanted.normalised(), own.normalised());
    wanted.os == own.os
        && wanted.architecture == own.architecture
        && wanted.variant.is_none_or(|wanted| own.variant.is_some_and(|own| own == wanted))
}

/// Returns whether a list loses its attestations. They are OCI manifests that no Docker format can have, and they state
/// the image that they are about in annotations, which a Docker list lacks.
fn loses_attestations(from: IndexFormat, to: IndexFormat) -> bool {
    from == IndexFormat::Oci && to == IndexFormat::DockerList
}

fn instance(written: Descriptor, zstd: bool) -> Instance {
    Instance { digest: written.digest, size: written.size, media_type: written.media_type, zstd }
}

/// Returns the digest of an entry and its platform, for messages.
fn describe(entry: &Descriptor) -> String {
    match &entry.platform {
        Some(platform) => format!("{platform} ({})", entry.digest),
        None => entry.digest.to_string(),
    }
}
