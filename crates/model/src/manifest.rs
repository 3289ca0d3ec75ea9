//! Manifests: the config and the layers of an image for one platform (OCI image-spec, manifest.md).

use std::collections::BTreeMap;

use crate::error::DocumentKind;
use crate::{Descriptor, Digest, MediaType, Result, json};

/// An image for one platform. Read one with [`Document::parse`](crate::Document::parse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    raw: Vec<u8>,
    digest: Digest,
    media_type: MediaType,
    /// Boxed, for a `Document` is passed around by value.
    body: Box<Body>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    config: Descriptor,
    #[serde(default, deserialize_with = "json::list")]
    layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "json::notes")]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<MediaType>,
}

impl Manifest {
    /// Reads what is already known to be of type `media_type` and to have the SHA-256 `digest`.
    pub(crate) fn parse(raw: Vec<u8>, digest: Digest, media_type: MediaType) -> Result<Self> {
        let body = json::parse_object(&raw, DocumentKind::Manifest, &digest)?;
        Ok(Self { raw, digest, media_type, body })
    }

    /// The bytes the manifest was read from.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The SHA-256 of [`Self::raw`].
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The media type: as declared, else as sent, else as inferred from the fields.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The descriptor of the config; its digest is the image id.
    pub fn config(&self) -> &Descriptor {
        &self.body.config
    }

    /// The descriptors of the layers, the base first; one layer may occur twice.
    pub fn layers(&self) -> &[Descriptor] {
        &self.body.layers
    }

    /// Free notes.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.body.annotations
    }

    /// The manifest that this one is about, of signatures and the like.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.body.subject.as_ref()
    }

    /// What this is if it is no image.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        self.body.artifact_type.as_ref()
    }

    /// Whether the config is an image's, rather than a Helm chart's, a plugin's or a signature's.
    ///
    /// Types outside `application/vnd.` pass: images from the first years of schema 2 have `application/octet-stream`
    /// and even `text/html` there.
    pub fn is_image(&self) -> bool {
        let config = &self.config().media_type;
        config.is_config() || !config.essence().starts_with("application/vnd.")
    }
}
