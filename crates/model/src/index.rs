//! Indexes: lists of manifests, usually one for each platform (OCI image-spec, image-index.md; Docker manifest lists).

use std::collections::BTreeMap;

use crate::error::DocumentKind;
use crate::{Descriptor, Digest, MediaType, Result, json};

/// A list of manifests or of further indexes.
///
/// [`Document::parse`](crate::Document::parse) creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    raw: Vec<u8>,
    digest: Digest,
    media_type: MediaType,
    /// Boxed, because a `Document` is passed by value.
    body: Box<Body>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default, deserialize_with = "json::limited_non_null_list")]
    manifests: Vec<Descriptor>,
    #[serde(default, deserialize_with = "json::string_map")]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<MediaType>,
}

impl Index {
    /// Parses an index. The caller has determined its type and its SHA-256.
    pub(crate) fn parse(raw: Vec<u8>, digest: Digest, media_type: MediaType) -> Result<Self> {
        let body = json::parse_object(&raw, DocumentKind::Index, &digest)?;
        Ok(Self { raw, digest, media_type, body })
    }

    /// Returns the bytes the index was read from.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Returns the SHA-256 of [`Self::raw`].
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the media type, the digest and the size of this index.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.raw.len() as u64)
    }

    /// Returns the media type: of the document, else of the sender, else inferred from the fields.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the descriptors of the manifests, in the order of the document.
    pub fn manifests(&self) -> &[Descriptor] {
        &self.body.manifests
    }

    /// Returns the annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.body.annotations
    }

    /// Returns the descriptor of the manifest that this index refers to.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.body.subject.as_ref()
    }

    /// Returns the type of artifact, for an index that is not a list of images.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        self.body.artifact_type.as_ref()
    }
}
