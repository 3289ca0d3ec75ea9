//! Manifests: the config and the layers of an image for one platform (OCI image-spec, manifest.md).

use std::collections::BTreeMap;

use crate::error::DocumentKind;
use crate::{Descriptor, Digest, MediaType, Result, json};

/// An image for one platform.
///
/// [`Document::parse`](crate::Document::parse) creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    raw: Vec<u8>,
    digest: Digest,
    media_type: MediaType,
    /// Boxed, because a `Document` is passed by value.
    body: Box<Body>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    config: Descriptor,
    #[serde(default, deserialize_with = "json::limited_list")]
    layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "json::string_map")]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<MediaType>,
}

impl Manifest {
    /// Parses a manifest. The caller has determined its type and its SHA-256.
    pub(crate) fn parse(raw: Vec<u8>, digest: Digest, media_type: MediaType) -> Result<Self> {
        let body = json::parse_object(&raw, DocumentKind::Manifest, &digest)?;
        Ok(Self { raw, digest, media_type, body })
    }

    /// Returns the bytes the manifest was read from.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Returns the SHA-256 of [`Self::raw`].
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the media type, the digest and the size of this manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.raw.len() as u64)
    }

    /// Returns the media type: of the document, else of the sender, else inferred from the fields.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the descriptor of the config. Its digest is the image id.
    pub fn config(&self) -> &Descriptor {
        &self.body.config
    }

    /// Returns the descriptors of the layers, the base first. A layer may occur more than once.
    pub fn layers(&self) -> &[Descriptor] {
        &self.body.layers
    }

    /// Returns the annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.body.annotations
    }

    /// Returns the descriptor of the manifest that this one refers to, for signatures and similar artifacts.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.body.subject.as_ref()
    }

    /// Returns the type of artifact, for a manifest that is not an image.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        self.body.artifact_type.as_ref()
    }

    /// Returns whether the config is that of an image, and not of a Helm chart, a plugin or a signature.
    ///
    /// Types outside `application/vnd.` count as images: the configs of early schema 2 images have
    /// `application/octet-stream` and even `text/html`.
    pub fn is_image(&self) -> bool {
        let config = &self.config().media_type;
        config.is_config() || !config.essence().starts_with("application/vnd.")
    }
}
