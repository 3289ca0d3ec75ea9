//! Writing of docker save archives.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, Document, Manifest, MediaType, Reference};

use super::legacy::{self, LegacyLayer};
use super::{MANIFEST_JSON, REPOSITORIES};
use crate::archive_output::ArchiveOutput;
use crate::{Accepts, DestinationOptions, Error, ImageDestination, LayerForm, ManifestPlace, NewBlob, Result, Reuse};

/// The permission bits of the members.
const MODE: u32 = 0o444;

/// An archive with one image, to be written.
///
/// Members have the order of the manifest, so equal images have equal archives.
#[derive(Debug)]
pub(crate) struct DockerArchiveDestination {
    /// The name of the destination.
    name: String,
    output: ArchiveOutput,
    /// The names of the image, each with a tag.
    tags: Vec<Reference>,
    image: Mutex<Option<NewImage>>,
}

/// The parts of the image in the order of the archive.
#[derive(Debug)]
struct NewImage {
    config: Digest,
    layers: Vec<Digest>,
    legacy: Vec<LegacyLayer>,
}

/// The entry of the image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl DockerArchiveDestination {
    /// Opens the file for writing. A file that is not empty is an error: it may have other images.
    pub(crate) fn open(path: &Path, name: Option<Reference>, options: &DestinationOptions) -> Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
            let reason = "docker-archive doesn't support modifying existing images";
            return Err(Error::Occupied { path: path.to_owned(), reason });
        }
        let tags: Vec<Reference> = name.into_iter().chain(options.additional_tags.iter().cloned()).collect();
        let name = match tags.first() {
            Some(tag) => format!("docker-archive:{}:{}", path.display(), tag_text(tag)),
            None => format!("docker-archive:{}", path.display()),
        };
        Ok(Self { name, output: ArchiveOutput::create(path, options)?, tags, image: Mutex::new(None) })
    }

    /// Prepares an archive that the commit writes to `writer`, and closes. `name` is its name in messages.
    #[cfg(feature = "daemon")]
    pub(crate) fn to_writer(
        name: String,
        writer: impl std::io::Write + Send + 'static,
        tag: &Reference,
        options: &DestinationOptions,
    ) -> Result<Self> {
        let tags = std::iter::once(tag).chain(&options.additional_tags).cloned().collect();
        let output = ArchiveOutput::to_writer(Path::new(&name), writer, options)?;
        Ok(Self { name, output, tags, image: Mutex::new(None) })
    }

    /// Returns whether the manifest was written.
    #[cfg(feature = "daemon")]
    pub(crate) fn has_manifest(&self) -> bool {
        self.image.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Closes the writer if the commit failed before it used it.
    #[cfg(feature = "daemon")]
    pub(crate) fn close(&self) {
        self.output.close();
    }

    fn refused(&self, media_type: &MediaType, reason: impl Into<String>) -> Error {
        Error::Refused { place: self.name(), media_type: media_type.to_string(), reason: reason.into() }
    }

    /// Returns the parts of the image of a manifest. All must have been written.
    fn describe(&self, manifest: &Manifest) -> Result<NewImage> {
        let spool = self.output.spool();
        let missing = |role, digest: &Digest| Error::Missing {
            path: self.output.path().to_owned(),
            role,
            member: digest.to_string(),
        };
        let layers: Vec<Digest> = manifest.layers().iter().map(|layer| layer.digest).collect();
        if let Some(absent) = layers.iter().find(|layer| spool.size(layer).is_none()) {
            return Err(missing("layer", absent));
        }
        let config = manifest.config().digest;
        let bytes = spool.read(&config, CONFIG_LIMIT)?.ok_or_else(|| missing("image config", &config))?;
        let not_json = |error| self.refused(manifest.media_type(), format!("its config is not an image's: {error}"));
        let legacy = legacy::describe(&layers, &bytes).map_err(not_json)?;
        Ok(NewImage { config, layers, legacy })
    }

    fn manifest_json(&self, image: &NewImage) -> Vec<u8> {
        let mut seen = HashSet::new();
        let tags = self.tags.iter().map(tag_text).filter(|tag| seen.insert(tag.clone())).collect();
        let layers = image.layers.iter().map(layer_member).collect();
        let entry = Entry { config: config_member(&image.config), repo_tags: tags, layers };
        serde_json::to_vec(&[entry]).expect("names are plain data")
    }

    fn repositories(&self, image: &NewImage) -> Vec<u8> {
        let mut repositories: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
        if let Some(top) = image.legacy.last() {
            for reference in &self.tags {
                let tags = repositories.entry(reference.name()).or_default();
                tags.insert(reference.tag_or_default().unwrap_or_default(), &top.id);
            }
        }
        serde_json::to_vec(&repositories).expect("names are plain data")
    }
}

/// Returns a name as other tools write it in archives: with its registry, and without a digest.
fn tag_text(reference: &Reference) -> String {
    format!("{}:{}", reference.name(), reference.tag_or_default().unwrap_or_default())
}

fn layer_member(digest: &Digest) -> String {
    format!("{}.tar", digest.hex())
}

fn config_member(digest: &Digest) -> String {
    format!("{}.json", digest.hex())
}

impl ImageDestination for DockerArchiveDestination {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn accepts(&self) -> Accepts {
        let documents = vec![MediaType::DOCKER_MANIFEST];
        Accepts { documents, layers: LayerForm::Decompress, foreign_layers: false, digest: None }
    }

    fn reuse_blob(&self, blob: &Descriptor, _origins: &[Reference]) -> Result<Reuse> {
        Ok(self.output.reuse_blob(blob))
    }

    fn put_blob(&self, blob: &mut NewBlob<'_>) -> Result<()> {
        self.output.put_blob(blob)
    }

    fn put_manifest(&self, bytes: &[u8], media_type: &MediaType, place: ManifestPlace) -> Result<()> {
        if place == ManifestPlace::Instance || media_type.is_index() {
            return Err(self.refused(media_type, "an archive has one image for one platform, and no list of them"));
        }
        if !media_type.matches(&MediaType::DOCKER_MANIFEST) {
            return Err(self.refused(media_type, "an archive has a Docker schema 2 manifest"));
        }
        let parsed = Document::parse(bytes.to_vec(), Some(media_type.as_str()));
        let image = match parsed.map_err(|error| self.refused(media_type, error.to_string()))? {
            Document::Manifest(manifest) => self.describe(&manifest)?,
            _ => return Err(self.refused(media_type, "it is not the manifest of one image")),
        };
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = Some(image);
        Ok(())
    }

    fn commit(&self) -> Result<()> {
        let image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        let image = image.as_ref().ok_or_else(|| Error::NoManifest { place: self.name() })?;
        let (manifest, repositories) = (self.manifest_json(image), self.repositories(image));
        let spool = self.output.spool();
        self.output.commit(|tar| {
            let mut written = BTreeSet::new();
            let layers = image.layers.iter().map(|layer| (layer, layer_member(layer)));
            for (digest, member) in layers.chain([(&image.config, config_member(&image.config))]) {
                if written.insert(member.clone())
                    && let Some((size, reader)) = spool.open(digest)
                {
                    tar.file(&member, MODE, size, reader)?;
                }
            }
            for layer in &image.legacy {
                let member = |name: &str| format!("{}/{name}", layer.id);
                tar.symlink(&member("layer.tar"), &format!("../{}", layer_member(&layer.digest)))?;
                tar.file(&member("VERSION"), MODE, legacy::VERSION.len() as u64, legacy::VERSION.as_bytes())?;
                tar.file(&member("json"), MODE, layer.json.len() as u64, layer.json.as_bytes())?;
            }
            tar.file(MANIFEST_JSON, MODE, manifest.len() as u64, &manifest[..])?;
            tar.file(REPOSITORIES, MODE, repositories.len() as u64, &repositories[..])
        })
    }
}
