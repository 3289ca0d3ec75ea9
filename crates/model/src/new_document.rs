//! New manifests and indexes, with their members in the order of Go's structs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::convert::ManifestFormat;
use crate::json_text::to_vec;
use crate::{Descriptor, MediaType, Platform};

/// A manifest to be written.
///
/// ```
/// use vmroot_model::{Descriptor, Document, MediaType, NewManifest};
///
/// let config = Descriptor::of(MediaType::OCI_CONFIG, b"{}");
/// let layer = Descriptor::of(MediaType::OCI_LAYER, &[0; 1024]);
/// let bytes = NewManifest::oci(config, vec![layer]).to_bytes();
/// assert!(matches!(Document::parse(bytes, None)?, Document::Manifest(_)));
/// # Ok::<(), vmroot_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewManifest {
    /// The descriptor of the config.
    pub config: Descriptor,
    /// The descriptors of the layers, the base first.
    pub layers: Vec<Descriptor>,
    /// The type of artifact, for a manifest that is not an image. Only OCI manifests have it.
    pub artifact_type: Option<MediaType>,
    /// The manifest that this one refers to. Only OCI manifests have it.
    pub subject: Option<Descriptor>,
    /// The annotations. Only OCI manifests have them.
    pub annotations: BTreeMap<String, String>,
    format: ManifestFormat,
}

/// An index to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewIndex {
    /// The descriptors of the manifests.
    pub manifests: Vec<Descriptor>,
    /// The type of artifact, for an index that is not a list of images. Only OCI indexes have it.
    pub artifact_type: Option<MediaType>,
    /// The manifest that this index refers to. Only OCI indexes have it.
    pub subject: Option<Descriptor>,
    /// The annotations. Only OCI indexes have them.
    pub annotations: BTreeMap<String, String>,
}

impl NewManifest {
    /// Creates an OCI manifest.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self::new(ManifestFormat::Oci, config, layers)
    }

    /// Creates a manifest of Docker's schema 2. Descriptors then have a type, size, digest and URLs only.
    pub fn schema2(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self::new(ManifestFormat::Schema2, config, layers)
    }

    fn new(format: ManifestFormat, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { config, layers, artifact_type: None, subject: None, annotations: BTreeMap::new(), format }
    }

    /// Returns the media type.
    pub fn media_type(&self) -> MediaType {
        self.format.media_type()
    }

    /// Writes the manifest as Go does.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.format == ManifestFormat::Oci {
            return to_vec(&OciManifest {
                schema_version: 2,
                media_type: MediaType::OCI_MANIFEST,
                artifact_type: self.artifact_type.as_ref(),
                config: &self.config,
                layers: &self.layers,
                subject: self.subject.as_ref(),
                annotations: &self.annotations,
            });
        }
        to_vec(&DockerManifest {
            schema_version: 2,
            media_type: MediaType::DOCKER_MANIFEST,
            config: DockerDescriptor::new(&self.config),
            layers: self.layers.iter().map(DockerDescriptor::new).collect(),
        })
    }
}

impl NewIndex {
    /// Writes an OCI index as Go does.
    pub fn to_oci(&self) -> Vec<u8> {
        to_vec(&OciIndex {
            schema_version: 2,
            media_type: MediaType::OCI_INDEX,
            artifact_type: self.artifact_type.as_ref(),
            manifests: &self.manifests,
            subject: self.subject.as_ref(),
            annotations: &self.annotations,
        })
    }

    /// Writes a Docker manifest list as Go does. Entries then have a type, size, digest, URLs and platform only. An
    /// entry without a platform gets an empty one.
    pub fn to_docker(&self) -> Vec<u8> {
        let entry = |descriptor| {
            let platform = Descriptor::platform_or_empty(descriptor);
            DockerEntry { descriptor: DockerDescriptor::new(descriptor), platform }
        };
        to_vec(&DockerList {
            schema_version: 2,
            media_type: MediaType::DOCKER_INDEX,
            manifests: self.manifests.iter().map(entry).collect(),
        })
    }
}

impl Descriptor {
    fn platform_or_empty(&self) -> Platform {
        self.platform.clone().unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciManifest<'a> {
    schema_version: u8,
    media_type: MediaType,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a MediaType>,
    config: &'a Descriptor,
    layers: &'a [Descriptor],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciIndex<'a> {
    schema_version: u8,
    media_type: MediaType,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a MediaType>,
    manifests: &'a [Descriptor],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerManifest<'a> {
    schema_version: u8,
    media_type: MediaType,
    config: DockerDescriptor<'a>,
    layers: Vec<DockerDescriptor<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerList<'a> {
    schema_version: u8,
    media_type: MediaType,
    manifests: Vec<DockerEntry<'a>>,
}

#[derive(Serialize)]
struct DockerEntry<'a> {
    #[serde(flatten)]
    descriptor: DockerDescriptor<'a>,
    platform: Platform,
}

/// The members of a descriptor that Docker's formats define.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DockerDescriptor<'a> {
    media_type: &'a MediaType,
    size: u64,
    digest: crate::Digest,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    urls: &'a [String],
}

impl<'a> DockerDescriptor<'a> {
    fn new(descriptor: &'a Descriptor) -> Self {
        let Descriptor { media_type, size, digest, urls, .. } = descriptor;
        Self { media_type, size: *size, digest: *digest, urls }
    }
}
