//! The lists of an archive: `manifest.json` and `repositories` of Docker, and `index.json` of an OCI layout.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use serde::Serialize;
use vmroot_model::{
    CONFIG_LIMIT, Descriptor, Digest, Document, ImageConfig, Index, MANIFEST_LIMIT, MediaType, Reference, unix_time,
};
use vmroot_transport::TarWriter;

use super::blobs::member;
use super::names::{Parents, Selected};
use super::{MODE, SaveFormat};
use crate::{Error, Record, Result, Store};

/// The annotation with the full name, as containerd and Docker write it.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// The annotation with the tag (OCI image-spec, annotations.md).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The content of `oci-layout`.
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The lists, and the facts about images that they are made of.
#[derive(Debug, Default)]
pub(super) struct Lists {
    index: Vec<Descriptor>,
    images: Vec<ListedImage>,
    /// The indexes above each manifest, the top one first.
    indexes: HashMap<Digest, Vec<Digest>>,
    /// The creation of each image, in seconds since 1970, by id.
    times: HashMap<Digest, u64>,
    repositories: Repositories,
}

/// The top layer of each tag of each repository.
pub(super) type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// An image of `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedImage {
    pub(super) config: String,
    /// Null without names, as Go writes an empty list.
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
    /// The id of the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Digest>,
    /// The descriptors of the layers as stored, by diff id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) layer_sources: BTreeMap<Digest, Descriptor>,
}

/// `index.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexFile<'a> {
    schema_version: u32,
    media_type: MediaType,
    manifests: &'a [Descriptor],
}

/// Reads the documents of the images.
pub(super) fn describe(store: &Store, selected: &[Selected], parents: &Parents) -> Result<Lists> {
    let mut lists = Lists::default();
    for image in selected {
        for record in image.records() {
            lists.add_times(store, record)?;
            let path = indexes_above(store, record);
            lists.indexes.entry(record.manifest.digest).or_insert(path);
        }
        lists.add_to_index(store, image)?;
        lists.add_to_manifest(image, parents);
    }
    Ok(lists)
}

impl Lists {
    /// Returns the time of the members of an image, in seconds since 1970.
    pub(super) fn time_of(&self, id: &Digest) -> u64 {
        self.times.get(id).copied().unwrap_or_default()
    }

    /// Returns the indexes above the manifest of a record.
    pub(super) fn documents_of(&self, record: &Record) -> impl Iterator<Item = &Digest> {
        self.indexes.get(&record.manifest.digest).into_iter().flatten()
    }

    fn add_times(&mut self, store: &Store, record: &Record) -> Result<()> {
        let config = store.saved_config(record)?;
        self.times.insert(*record.id(), config.created().and_then(unix_time).unwrap_or_default());
        Ok(())
    }

    /// Adds the entries of the OCI index: one for each name, or one without a name.
    fn add_to_index(&mut self, store: &Store, image: &Selected) -> Result<()> {
        let mut tops: Vec<Descriptor> = Vec::new();
        for record in image.records() {
            let digest = self.documents_of(record).next().copied().unwrap_or(record.manifest.digest);
            if !tops.iter().any(|top| top.digest == digest) {
                tops.push(store.describe_document(record, &digest)?);
            }
        }
        for top in tops {
            let named = |reference: Reference| {
                let mut entry = top.clone();
                entry.annotations.insert(IMAGE_NAME.to_owned(), reference.to_string());
                let tag = reference.tag_or_default().unwrap_or_default().to_owned();
                entry.annotations.insert(REF_NAME.to_owned(), tag);
                entry
            };
            self.index.extend(image.references().map(named));
            if image.tags.is_empty() {
                self.index.push(top);
            }
        }
        Ok(())
    }

    /// Adds the image for the first platform to `manifest.json`, as containerd does: a name has one image there, and
    /// readers of the list expect one image for each name. The others are in the OCI index.
    fn add_to_manifest(&mut self, image: &Selected, parents: &Parents) {
        // Programs that read this list cannot decrypt. Encrypted images are in the OCI index only.
        let Some(record) = image.records().next().filter(|record| !record.is_encrypted()) else { return };
        let config = member(record.id());
        let position = self.images.iter().position(|known| known.config == config).unwrap_or_else(|| {
            self.images.push(ListedImage::new(record, parents));
            self.images.len() - 1
        });
        let top_layer = record.layers.last().map(|layer| layer.digest.hex());
        for reference in image.references() {
            self.images[position].add_tag(&reference);
            add_repository(&mut self.repositories, &reference, top_layer.as_deref());
        }
    }

    /// Writes the members that follow the blobs.
    pub(super) fn write(&self, format: SaveFormat, tar: &mut TarWriter<&mut dyn Write>) -> Result<()> {
        let index = IndexFile { schema_version: 2, media_type: MediaType::OCI_INDEX, manifests: &self.index };
        let index = serde_json::to_vec(&index).expect("descriptors are plain data");
        add(tar, "index.json", &index)?;
        if format == SaveFormat::OciArchive {
            return add(tar, "oci-layout", LAYOUT.as_bytes());
        }
        add(tar, "manifest.json", &json_line(&self.images))?;
        add(tar, "oci-layout", LAYOUT.as_bytes())?;
        add_repositories(tar, &self.repositories)
    }
}

impl ListedImage {
    fn new(record: &Record, parents: &Parents) -> Self {
        let layers = record.layers.iter();
        Self {
            config: member(record.id()),
            repo_tags: None,
            parent: parents.get(record.id()).copied(),
            layers: layers.clone().map(|layer| member(&layer.digest)).collect(),
            layer_sources: layers.map(|layer| (layer.diff_id, layer.descriptor())).collect(),
        }
    }

    /// Adds a name in Docker's short form.
    pub(super) fn add_tag(&mut self, reference: &Reference) {
        let tag = reference.familiar();
        let tags = self.repo_tags.get_or_insert_default();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

/// Records the top layer of a name, for readers from before Docker 1.10.
pub(super) fn add_repository(repositories: &mut Repositories, reference: &Reference, top_layer: Option<&str>) {
    let (Some(tag), Some(top_layer)) = (reference.tag_or_default(), top_layer) else { return };
    let familiar = reference.familiar();
    let name = familiar.strip_suffix(&format!(":{tag}")).unwrap_or(&familiar).to_owned();
    repositories.entry(name).or_default().insert(tag.to_owned(), top_layer.to_owned());
}

/// Writes `repositories`, unless no image has a name.
pub(super) fn add_repositories(tar: &mut TarWriter<&mut dyn Write>, repositories: &Repositories) -> Result<()> {
    if repositories.is_empty() { Ok(()) } else { add(tar, "repositories", &json_line(repositories)) }
}

/// Returns JSON and a line break, as Docker writes it.
pub(super) fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("names and descriptors are plain data");
    bytes.push(b'\n');
    bytes
}

/// Writes a member with these bytes.
pub(super) fn add(tar: &mut TarWriter<&mut dyn Write>, name: &str, bytes: &[u8]) -> Result<()> {
    tar.file(name, MODE, bytes.len() as u64, bytes).map_err(Error::write_archive)
}

/// Returns the indexes from the one that the image's name resolved to, down to the one with the manifest. Empty if the
/// name resolved to the manifest, or if the cache lacks an index in between.
pub(crate) fn indexes_above(store: &Store, record: &Record) -> Vec<Digest> {
    if record.digest == record.manifest.digest {
        return Vec::new();
    }
    let indexes: Vec<Digest> = [&record.digest].into_iter().chain(&record.indexes).copied().collect();
    let has = |index: &Digest, digest: &Digest| {
        read_index(store, index).is_some_and(|index| index.manifests().iter().any(|entry| entry.digest == *digest))
    };
    let below = record.indexes.iter().chain([&record.manifest.digest]);
    if indexes.iter().zip(below).all(|(index, digest)| has(index, digest)) { indexes } else { Vec::new() }
}

fn read_index(store: &Store, digest: &Digest) -> Option<Index> {
    match Document::parse(store.read_document(digest, MANIFEST_LIMIT)?, None).ok()? {
        Document::Index(index) => Some(index),
        Document::Manifest(_) => None,
    }
}

impl Store {
    /// Reads the config of an image that is saved.
    pub(super) fn saved_config(&self, record: &Record) -> Result<ImageConfig> {
        let damaged = || Error::damaged(self.cache.layout().blob(record.id()), *record.id()).of_image(record);
        let bytes = self.read_document(record.id(), CONFIG_LIMIT).ok_or_else(damaged)?;
        ImageConfig::parse(bytes).map_err(|_| damaged())
    }

    /// Returns the descriptor of a manifest or an index.
    pub(crate) fn describe_document(&self, record: &Record, digest: &Digest) -> Result<Descriptor> {
        let damaged = || Error::damaged(self.cache.layout().blob(digest), *digest).of_image(record);
        let bytes = self.read_document(digest, MANIFEST_LIMIT).ok_or_else(damaged)?;
        let size = bytes.len() as u64;
        let sent =
            Some(record.manifest.media_type.as_str()).filter(|it| *digest == record.manifest.digest && !it.is_empty());
        let document = Document::parse(bytes, sent).map_err(|_| damaged())?;
        Ok(Descriptor::new(MediaType::new(document.media_type().essence()), *digest, size))
    }
}
