//! Descriptors: a typed, sized and hashed pointer at some content (OCI image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, MediaType, Platform, json};

/// How many other places a foreign layer is looked for in.
pub const FOREIGN_URLS: usize = 8;

/// What a document says about another piece of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is; empty where a document leaves it out.
    #[serde(default, deserialize_with = "json::null_as_default", skip_serializing_if = "MediaType::is_empty")]
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes, at most `i64::MAX`.
    #[serde(deserialize_with = "json::size")]
    pub size: u64,
    /// Where else the content may be had; only layers that may not be distributed have such addresses.
    #[serde(default, deserialize_with = "json::present_list", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free notes.
    #[serde(default, deserialize_with = "json::notes", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What runs the content, in the entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What the content is where it is a manifest of something other than an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The content itself in base64, where it is short; unchecked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

impl Descriptor {
    /// A descriptor with the three fields that each must have.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
        }
    }

    /// The descriptor of `content`, by its SHA-256.
    pub fn of(media_type: MediaType, content: &[u8]) -> Self {
        Self::new(media_type, Digest::of(content), content.len() as u64)
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Where else a layer may be had that registries need not hold: at most [`FOREIGN_URLS`] addresses of HTTP.
    ///
    /// Other content gives none. Otherwise a hostile manifest could make its readers ask any server.
    pub fn foreign_urls(&self) -> impl Iterator<Item = &str> {
        let is_http = |url: &&str| {
            let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        };
        let urls = if self.media_type.is_foreign_layer() { self.urls.as_slice() } else { &[] };
        urls.iter().map(String::as_str).filter(is_http).take(FOREIGN_URLS)
    }

    /// Whether this is a statement about another entry of the index (provenance, bill of materials), not an image.
    ///
    /// BuildKit marks them with the platform `unknown/unknown` and with the annotation `vnd.docker.reference.type`.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(|it| it.os == "unknown" || it.architecture == "unknown")
    }
}
