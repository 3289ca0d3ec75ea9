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
        let chosen = self.chosen(index, place);
        self.signatures.enter(index);
        if place == ManifestPlace::Top {
            self.check_platforms(index, &chosen)?;
        }
        let mut edit = index.edit();
        let mut unchanged = Vec::new();
        let loses_attestations = loses_attestations(index.format(), format);
        let mut attestations = 0;
        for (number, entry) in index.manifests().iter().enumerate() {
            if !chosen[number] {
                if self.strips(place) {
                    edit.remove(number);
                }
                continue;
            }
            if loses_attestations && entry.is_attestation() {
                edit.remove(number);
                attestations += 1;
                continue;
            }
            let message = format!("copying {} of {}: {}", number + 1, index.manifests().len(), describe(entry));
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

    /// Fails if the list has an image for none of the chosen platforms, and says which ones are missing.
    fn check_platforms(&self, index: &Index, chosen: &[bool]) -> Result<()> {
        let Selection::Platforms { platforms, .. } = &self.options().selection else { return Ok(()) };
        let has = |wanted: &Platform| {
            index.manifests().iter().any(|entry| entry.platform.as_ref().is_some_and(|own| includes(wanted, own)))
        };
        for missing in platforms.iter().filter(|wanted| !has(wanted)) {
            if !chosen.contains(&true) {
                let mut search = Search::new(missing);
                search.enter(index);
                search.next_candidate().map_err(|error| self.document_error(error))?;
            }
            self.tally.lose(format!("{} has no image for {missing}", self.source.name()));
        }
        Ok(())
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
            let (place, media_type) = (self.destination.name(), index.media_type().to_string());
            let reason = match self.options().format {
                Some(ManifestFormat::Schema1) => "schema 1 has no lists; choose an image with --platform",
                _ => "it holds single images; choose one with --platform, or without --all",
            };
            self.destination_error(vmroot_transport::Error::Refused { place, media_type, reason: reason.to_owned() })
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
            Selection::Platform(_) | Selection::All => vec![true; entries.len()],
        }
    }

    fn strips(&self, place: ManifestPlace) -> bool {
        place != ManifestPlace::Referrer
            && matches!(self.options().selection, Selection::Platforms { list: ListForm::Stripped, .. })
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
