//! Indexes: lists of manifests, usually one a platform (OCI image-spec, image-index.md; Docker's manifest list).

use std::collections::BTreeMap;

use crate::error::DocumentKind;
use crate::{Descriptor, Digest, MediaType, Result, json};

/// A list of manifests or of further indexes. Read one with [`Document::parse`](crate::Document::parse).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    raw: Vec<u8>,
    digest: Digest,
    media_type: MediaType,
    /// Boxed, for a `Document` is passed around by value.
    body: Box<Body>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default, deserialize_with = "json::present_list")]
    manifests: Vec<Descriptor>,
    #[serde(default, deserialize_with = "json::notes")]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<MediaType>,
}

impl Index {
    /// Reads what is already known to be of type `media_type` and to have the SHA-256 `digest`.
    pub(crate) fn parse(raw: Vec<u8>, digest: Digest, media_type: MediaType) -> Result<Self> {
        let body = json::parse_object(&raw, DocumentKind::Index, &digest)?;
        Ok(Self { raw, digest, media_type, body })
    }

    /// The bytes the index was read from.
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

    /// The entries, in the order of the document.
    pub fn manifests(&self) -> &[Descriptor] {
        &self.body.manifests
    }

    /// Free notes.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.body.annotations
    }

    /// The manifest that this index is about.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.body.subject.as_ref()
    }

    /// What this is if it is no list of images.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        self.body.artifact_type.as_ref()
    }
}
