//! Archives from all versions of `docker save`: tars with a list of images in `manifest.json`.
//!
//! Before Docker 25, a layer is the uncompressed `ID/layer.tar`, and a repeated layer is a symbolic link to the first.
//! Since then, layers and configs are `blobs/sha256/HEX`, and the tar is an OCI layout as well. The list has the same
//! form in both. Archives from before Docker 1.10 have no `manifest.json`: see [`v1`].

mod destination;
mod legacy;
mod list;
mod v1;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use vmroot_compress::{Compression, Limits};
use vmroot_model::{CONFIG_LIMIT, Descriptor, Digest, ImageConfig, MediaType};
use vmroot_signatures::ImageIdentity;

pub(crate) use self::destination::DockerArchiveDestination;
pub use self::legacy::{LegacyLayer, VERSION as LEGACY_VERSION, describe as describe_legacy_layers};
use crate::bundle::Bundle;
use crate::image_documents::ImageDocuments;
use crate::section::Section;
use crate::selector::ArchiveImage;
use crate::source::{BlobBody, ImageSource, RawManifest};
use crate::{Error, Result, identity_of_origin};

/// The member that lists the images.
pub(crate) const MANIFEST_JSON: &str = "manifest.json";

/// The member that lists the images of archives from before Docker 1.10.
pub(crate) const REPOSITORIES: &str = "repositories";

/// A docker save archive.
#[derive(Debug)]
pub(crate) struct DockerArchive {
    bundle: Arc<dyn Bundle>,
    listed: Vec<ListedImage>,
    limits: Limits,
}

/// An image in the archive's list.
#[derive(Debug)]
struct ListedImage {
    parts: ImageParts,
    names: Vec<String>,
    /// The id of the image from which `docker build` or `docker commit` made this one.
    parent: Option<Digest>,
}

/// The location of an image's parts.
#[derive(Debug)]
enum ImageParts {
    /// The members with its config and its layers, the base layer first.
    Members { config: String, layers: Vec<String> },
    /// The id of the top layer of an image from before Docker 1.10.
    V1Chain(String),
}

impl DockerArchive {
    /// Reads the list of images.
    pub(crate) fn open(bundle: Arc<dyn Bundle>, limits: Limits) -> Result<Self> {
        let listed = if let Some(section) = bundle.find(MANIFEST_JSON)? {
            list::read(&*bundle, section)?
        } else if let Some(section) = bundle.find(REPOSITORIES)? {
            v1::list(&*bundle, section)?
        } else {
            return Err(Error::NoManifestJson { path: bundle.path().to_owned() });
        };
        Ok(Self { bundle, listed, limits })
    }

    /// Returns the images, in the order of the list.
    pub(crate) fn images(&self) -> Vec<ArchiveImage> {
        let image = |(index, listed): (usize, &ListedImage)| {
            let references = listed.names.iter().filter_map(|name| crate::selector::tagged(name)).collect();
            ArchiveImage { parent: listed.parent, ..ArchiveImage::new(index, listed.names.clone(), references) }
        };
        self.listed.iter().enumerate().map(image).collect()
    }

    /// Creates a source of one image of the list.
    pub(crate) fn source(&self, index: usize) -> Result<DockerImage> {
        let listed = self.listed.get(index).ok_or_else(|| Error::NoImages { path: self.bundle.path().to_owned() })?;
        let name = match listed.names.first() {
            Some(name) => format!("docker-archive:{}:{name}", self.bundle.path().display()),
            None => format!("docker-archive:{}:@{index}", self.bundle.path().display()),
        };
        match &listed.parts {
            ImageParts::Members { config, layers } => {
                let section = self.bundle.require(config, "image config")?;
                let bytes = self.bundle.read(config, section, CONFIG_LIMIT)?;
                if let Some(digest) = digest_of_name(config) {
                    self.bundle.check_digest(config, &bytes, &digest)?;
                }
                self.create_image(name, config, bytes, layers)
            }
            ImageParts::V1Chain(id) => {
                let (config, layers) = v1::build_config(&*self.bundle, id, &self.limits)?;
                self.create_image(name, &v1::json_member(id), config, &layers)
            }
        }
    }

    /// Creates an image with a manifest for a config, read from `config_member`, and layers.
    fn create_image(
        &self,
        name: String,
        config_member: &str,
        config: Vec<u8>,
        layers: &[String],
    ) -> Result<DockerImage> {
        let parsed = ImageConfig::parse(config).map_err(|source| Error::Document {
            path: self.bundle.path().to_owned(),
            member: config_member.to_owned(),
            source,
        })?;
        if parsed.diff_ids().len() != layers.len() {
            return Err(Error::LayerCount {
                path: self.bundle.path().to_owned(),
                config: config_member.to_owned(),
                expected: parsed.diff_ids().len(),
                actual: layers.len(),
            });
        }
        let mut blobs = HashMap::new();
        let mut descriptors = Vec::new();
        for (member, diff_id) in layers.iter().zip(parsed.diff_ids()) {
            let section = self.bundle.require(member, "layer")?;
            let descriptor = self.describe(member, &section, diff_id)?;
            blobs.insert(descriptor.digest, (member.clone(), section));
            descriptors.push(descriptor);
        }
        let manifest = ManifestDocument {
            schema_version: 2,
            media_type: MediaType::DOCKER_MANIFEST,
            config: Descriptor::new(MediaType::DOCKER_CONFIG, *parsed.digest(), parsed.raw().len() as u64).into(),
            layers: descriptors.into_iter().map(ManifestEntry::from).collect(),
        };
        let manifest = serde_json::to_vec(&manifest).expect("descriptors are plain data");
        let documents = ImageDocuments::new(name, (manifest, MediaType::DOCKER_MANIFEST), parsed.raw().to_vec());
        Ok(DockerImage { documents, blobs })
    }

    /// Returns the descriptor of a layer as it is stored.
    fn describe(&self, member: &str, section: &Section, diff_id: &Digest) -> Result<Descriptor> {
        // The types need not be true: readers detect the compression by the first bytes.
        let media_type = match self.bundle.sniff(section)? {
            // Containers/image declares all layers as compressed. With the same type, the created manifest has the same
            // digest.
            Compression::None => {
                return Ok(Descriptor::new(MediaType::DOCKER_LAYER_GZIP, *diff_id, section.len()));
            }
            Compression::Gzip => MediaType::DOCKER_LAYER_GZIP,
            Compression::Zstd => MediaType::DOCKER_LAYER_ZSTD,
            // No media type exists for these. Readers detect the compression by the first bytes, as Docker does.
            Compression::Bzip2 | Compression::Xz => MediaType::DOCKER_LAYER,
        };
        let digest = match digest_of_name(member) {
            Some(digest) => digest,
            None => self.bundle.digest(section.clone())?,
        };
        Ok(Descriptor::new(media_type, digest, section.len()))
    }
}

/// Returns the digest in a member name of the form `blobs/sha256/HEX`.
fn digest_of_name(member: &str) -> Option<Digest> {
    let (algorithm, hex) = member.strip_prefix("blobs/")?.split_once('/')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}

/// The fields of a created manifest, in the order of containers/image.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument {
    schema_version: u32,
    media_type: MediaType,
    config: ManifestEntry,
    layers: Vec<ManifestEntry>,
}

/// The fields of a descriptor in a created manifest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ManifestEntry {
    media_type: MediaType,
    size: u64,
    digest: Digest,
}

impl From<Descriptor> for ManifestEntry {
    fn from(descriptor: Descriptor) -> Self {
        let Descriptor { media_type, digest, size, .. } = descriptor;
        Self { media_type, size, digest }
    }
}

/// One image of a docker save archive.
pub(crate) struct DockerImage {
    documents: ImageDocuments,
    /// The layers with the names of their members.
    blobs: HashMap<Digest, (String, Section)>,
}

#[cfg(feature = "daemon")]
impl DockerImage {
    /// Replaces the name of the source.
    pub(crate) fn with_name(self, name: String) -> Self {
        Self { documents: self.documents.with_name(name), ..self }
    }
}

impl fmt::Debug for DockerImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DockerImage").field(&self.documents.name()).finish()
    }
}

impl ImageSource for DockerImage {
    fn name(&self) -> String {
        self.documents.name().to_owned()
    }

    /// The names in an archive need not be valid.
    fn identity(&self) -> Result<ImageIdentity> {
        identity_of_origin(self.documents.name())
    }

    fn manifest(&self, digest: Option<&Digest>) -> Result<RawManifest> {
        self.documents.manifest(digest)
    }

    fn sniff(&self, descriptor: &Descriptor) -> Result<Option<Compression>> {
        let Some((_, section)) = self.blobs.get(&descriptor.digest) else { return Ok(None) };
        let sniffed = section.sniff();
        Ok(Some(sniffed.map_err(|error| Error::of_reader(error, self.name(), descriptor.digest))?))
    }

    fn member(&self, digest: &Digest) -> Option<String> {
        self.blobs.get(digest).map(|(member, _)| member.clone())
    }

    fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobBody> {
        if let Some(body) = self.documents.config(descriptor, offset) {
            return Ok(body);
        }
        let section = self.blobs.get(&descriptor.digest).map(|(_, section)| section.clone());
        Ok(section.ok_or_else(|| self.documents.unknown(&descriptor.digest))?.into_body(offset))
    }
}
