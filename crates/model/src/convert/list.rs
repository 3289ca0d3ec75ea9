//! Indexes with other entries, and between OCI and Docker.

use std::collections::BTreeMap;

use crate::convert::Loss;
use crate::error::DocumentKind;
use crate::json_text::{RawObject, to_vec};
use crate::{Descriptor, Digest, Error, Index, MediaType, NewIndex, Platform, Result, manifest_digest};

/// The annotation of an entry whose image needs a reader of zstd. Its value is `true`.
const ZSTD_MARKER: &str = "io.github.containers.compression.zstd";

/// A format of indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IndexFormat {
    /// The OCI image index.
    Oci,
    /// Docker's manifest list.
    DockerList,
}

impl IndexFormat {
    /// Returns the media type of indexes of this format.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OCI_INDEX,
            Self::DockerList => MediaType::DOCKER_INDEX,
        }
    }
}

/// An image in place of an entry of an index, such as the same image with other layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The size of the manifest in bytes.
    pub size: u64,
    /// The media type of the manifest.
    pub media_type: MediaType,
    /// Whether a layer is compressed with zstd. An OCI index then marks the entry, so that readers of zstd prefer it.
    pub zstd: bool,
}

impl Instance {
    /// Creates the instance of a manifest, such as that of a [`Converted`](crate::Converted).
    ///
    /// # Errors
    /// The errors of [`manifest_digest`].
    pub fn of(manifest: &[u8], media_type: MediaType, zstd: bool) -> Result<Self> {
        Ok(Self { digest: manifest_digest(manifest)?, size: manifest.len() as u64, media_type, zstd })
    }
}

/// An index as edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedIndex {
    /// The bytes of the index. They are the old bytes if nothing changed.
    pub bytes: Vec<u8>,
    /// The media type of the index.
    pub media_type: MediaType,
    /// The parts of the old index that the new one does not have. Removed entries are not among them.
    pub losses: Vec<Loss>,
}

/// Changes to the entries of an index. [`Index::edit`] creates it.
///
/// ```
/// # use vmroot_model::{Document, Index, Instance, MediaType};
/// # fn example(index: &Index, new: Instance) -> Result<(), vmroot_model::Error> {
/// let mut edit = index.edit();
/// edit.replace(0, new);
/// edit.remove(1);
/// let edited = edit.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct IndexEdit<'a> {
    index: &'a Index,
    /// For each entry of the index, its new descriptor, or `None` if it is removed.
    entries: Vec<Option<Descriptor>>,
    added: Vec<Descriptor>,
}

impl Index {
    /// Returns the format, by the media type.
    pub fn format(&self) -> IndexFormat {
        if self.media_type().is_docker() { IndexFormat::DockerList } else { IndexFormat::Oci }
    }

    /// Begins to edit the entries. Positions are those of [`Self::manifests`] throughout.
    pub fn edit(&self) -> IndexEdit<'_> {
        IndexEdit { index: self, entries: self.manifests().iter().cloned().map(Some).collect(), added: Vec::new() }
    }
}

impl IndexEdit<'_> {
    /// Puts another image in place of an entry. The platform, annotations and members that this crate does not know
    /// stay, except the mark for zstd, which becomes that of the new image. Without an entry at `position`, nothing
    /// happens.
    pub fn replace(&mut self, position: usize, instance: Instance) {
        let Some(Some(entry)) = self.entries.get_mut(position) else { return };
        if entry.digest != instance.digest {
            entry.data = None;
        }
        entry.digest = instance.digest;
        entry.size = instance.size;
        entry.media_type = instance.media_type;
        if self.index.format() == IndexFormat::Oci {
            mark(entry, instance.zstd);
        }
    }

    /// Removes an entry. Without an entry at `position`, nothing happens.
    pub fn remove(&mut self, position: usize) {
        if let Some(entry) = self.entries.get_mut(position) {
            *entry = None;
        }
    }

    /// Adds an entry at the end. In an OCI index, entries with zstd then move after all others, so that readers that
    /// take the first match get gzip.
    pub fn add(&mut self, mut entry: Descriptor, zstd: bool) {
        if self.index.format() == IndexFormat::Oci {
            mark(&mut entry, zstd);
        }
        self.added.push(entry);
    }

    /// Writes the index in its format. Members of the index that this crate does not know stay, in their place.
    ///
    /// # Errors
    /// - [`Error::EmptyIndex`] if no entry is left.
    /// - [`Error::Conversion`] if an entry was added to a Docker manifest list without a platform.
    pub fn finish(self) -> Result<EditedIndex> {
        let media_type = self.index.media_type().clone();
        let unchanged = self.added.is_empty() && self.remaining().eq(self.index.manifests());
        if unchanged {
            return Ok(EditedIndex { bytes: self.index.raw().to_vec(), media_type, losses: Vec::new() });
        }
        self.check()?;
        let mut document: RawObject = self.parse_raw()?;
        let members: Vec<Option<RawObject>> = document.parsed("manifests");
        let members: Vec<RawObject> = members.into_iter().flatten().collect();
        if members.len() != self.entries.len() {
            return Err(self.invalid("its manifests are not a list of objects".to_owned()));
        }
        let mut entries = Vec::new();
        for ((mut member, old), new) in members.into_iter().zip(self.index.manifests()).zip(&self.entries) {
            let Some(new) = new else { continue };
            if old != new {
                set_entry(&mut member, new);
            }
            entries.push((is_marked(new), member));
        }
        for new in &self.added {
            entries.push((is_marked(new), self.new_entry(new)?));
        }
        if !self.added.is_empty() {
            entries.sort_by_key(|(is_marked, _)| *is_marked);
        }
        document.set("manifests", &entries.into_iter().map(|(_, member)| member).collect::<Vec<_>>());
        Ok(EditedIndex { bytes: to_vec(&document), media_type, losses: Vec::new() })
    }

    /// Writes the index in a format. In a manifest list, an entry without a platform gets `platform`.
    ///
    /// The bytes are new even if only the format changes. To the same format, this does the same as [`Self::finish`].
    ///
    /// # Errors
    /// The same as of [`Self::finish`].
    pub fn finish_as(self, format: IndexFormat, platform: &Platform) -> Result<EditedIndex> {
        if format == self.index.format() {
            return self.finish();
        }
        self.check()?;
        let entries: Vec<Descriptor> = self.remaining().chain(&self.added).cloned().collect();
        let (bytes, losses) = match format {
            IndexFormat::Oci => self.to_oci(entries)?,
            IndexFormat::DockerList => self.to_docker(entries, platform),
        };
        Ok(EditedIndex { bytes, media_type: format.media_type(), losses })
    }

    /// Returns the entries of the index that are not removed.
    fn remaining(&self) -> impl Iterator<Item = &Descriptor> {
        self.entries.iter().flatten()
    }

    fn check(&self) -> Result<()> {
        if self.added.is_empty() && self.remaining().next().is_none() {
            return Err(Error::EmptyIndex { digest: *self.index.digest() });
        }
        Ok(())
    }

    fn new_entry(&self, entry: &Descriptor) -> Result<RawObject> {
        if self.index.format() == IndexFormat::Oci {
            return self.reparsed(&to_vec(entry));
        }
        if entry.platform.is_none() {
            let reason = format!("entry {} has no platform", entry.digest);
            let format = "a Docker manifest list with this entry".to_owned();
            return Err(Error::Conversion { digest: *self.index.digest(), format, reason });
        }
        let list = NewIndex { manifests: vec![entry.clone()], ..NewIndex::default() };
        let document: RawObject = self.reparsed(&list.to_docker())?;
        let entries: Vec<RawObject> = document.parsed("manifests");
        Ok(entries.into_iter().next().unwrap_or_default())
    }

    fn to_oci(&self, entries: Vec<Descriptor>) -> Result<(Vec<u8>, Vec<Loss>)> {
        let document: RawObject = self.parse_raw()?;
        let members: Vec<Option<RawObject>> = document.parsed("manifests");
        let mut losses = Vec::new();
        for (member, entry) in members.into_iter().flatten().zip(&self.entries) {
            let features: Vec<String> = member.parsed::<RawObject>("platform").parsed("features");
            if let Some(entry) = entry.as_ref().filter(|_| !features.is_empty()) {
                losses.push(Loss::EntryFeatures { entry: entry.digest, features });
            }
        }
        let manifests = entries.into_iter().map(|entry| Descriptor {
            urls: entry.urls,
            // A manifest list without the member has an empty platform.
            platform: Some(entry.platform.unwrap_or_default()),
            ..Descriptor::new(entry.media_type, entry.digest, entry.size)
        });
        Ok((NewIndex { manifests: manifests.collect(), ..NewIndex::default() }.to_oci(), losses))
    }

    fn to_docker(&self, mut entries: Vec<Descriptor>, platform: &Platform) -> (Vec<u8>, Vec<Loss>) {
        let mut losses = self.index_losses();
        for entry in &mut entries {
            losses.extend(entry_losses(entry));
            if entry.platform.is_none() {
                let platform = Platform { os_version: None, os_features: Vec::new(), ..platform.clone() };
                losses.push(Loss::EntryWithoutPlatform { entry: entry.digest, platform: platform.to_string() });
                entry.platform = Some(platform);
            }
        }
        (NewIndex { manifests: entries, ..NewIndex::default() }.to_docker(), losses)
    }

    fn index_losses(&self) -> Vec<Loss> {
        let mut losses = Vec::new();
        if !self.index.annotations().is_empty() {
            losses.push(Loss::IndexAnnotations { keys: self.index.annotations().keys().cloned().collect() });
        }
        if let Some(subject) = self.index.subject() {
            losses.push(Loss::IndexSubject { digest: subject.digest });
        }
        if let Some(artifact_type) = self.index.artifact_type().filter(|it| !it.is_empty()) {
            losses.push(Loss::IndexArtifactType { artifact_type: artifact_type.to_string() });
        }
        losses
    }

    fn parse_raw(&self) -> Result<RawObject> {
        self.reparsed(self.index.raw())
    }

    fn reparsed(&self, bytes: &[u8]) -> Result<RawObject> {
        serde_json::from_slice(bytes).map_err(|error| self.invalid(error.to_string()))
    }

    fn invalid(&self, reason: String) -> Error {
        Error::InvalidDocument { document: DocumentKind::Index, digest: *self.index.digest(), reason }
    }
}

/// Sets the members of an entry that an edit can change. Other members stay.
fn set_entry(member: &mut RawObject, entry: &Descriptor) {
    member.set("mediaType", &entry.media_type);
    member.set("digest", &entry.digest);
    member.set("size", &entry.size);
    if entry.data.is_none() {
        member.remove("data");
    }
    if entry.annotations.is_empty() {
        member.remove("annotations");
    } else {
        member.set("annotations", &entry.annotations);
    }
}

/// Sets or removes the mark for zstd.
fn mark(entry: &mut Descriptor, zstd: bool) {
    if zstd {
        entry.annotations.insert(ZSTD_MARKER.to_owned(), "true".to_owned());
    } else {
        entry.annotations.remove(ZSTD_MARKER);
    }
}

/// Returns whether an entry has the mark for zstd.
pub(crate) fn is_marked(entry: &Descriptor) -> bool {
    entry.annotation(ZSTD_MARKER) == Some("true")
}

/// Returns the parts of an entry that a manifest list does not have.
fn entry_losses(entry: &Descriptor) -> Vec<Loss> {
    let mut losses = Vec::new();
    let annotations: &BTreeMap<String, String> = &entry.annotations;
    if !annotations.is_empty() {
        losses.push(Loss::EntryAnnotations { entry: entry.digest, keys: annotations.keys().cloned().collect() });
    }
    if let Some(artifact_type) = entry.artifact_type.as_ref().filter(|it| !it.is_empty()) {
        losses.push(Loss::EntryArtifactType { entry: entry.digest, artifact_type: artifact_type.to_string() });
    }
    losses
}
