//! Descriptors: references to content by type, size and digest (OCI image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, MediaType, Platform, json};

/// The largest number of URLs that are tried for a foreign layer.
pub const FOREIGN_URLS: usize = 8;

/// A reference from a document to other content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content. Empty if the document has none.
    #[serde(default, deserialize_with = "json::null_as_default", skip_serializing_if = "MediaType::is_empty")]
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes, at most `i64::MAX`.
    #[serde(deserialize_with = "json::size")]
    pub size: u64,
    /// Other URLs of the content. Only [`Self::foreign_urls`] uses them.
    #[serde(default, deserialize_with = "json::limited_non_null_list", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The annotations.
    #[serde(default, deserialize_with = "json::string_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, if the document embeds it. It is not checked against the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform of the content, in the entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of artifact, if the content is a manifest but not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
}

impl Descriptor {
    /// Creates a descriptor with the three required fields.
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

    /// Creates the descriptor of `content`, with its SHA-256.
    pub fn of(media_type: MediaType, content: &[u8]) -> Self {
        Self::new(media_type, Digest::of(content), content.len() as u64)
    }

    /// Returns the value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Returns the HTTP and HTTPS URLs of a foreign layer, at most [`FOREIGN_URLS`].
    ///
    /// Returns no URLs for other content. Otherwise a hostile manifest could direct requests to any server.
    pub fn foreign_urls(&self) -> impl Iterator<Item = &str> {
        let is_http = |url: &&str| {
            let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        };
        let urls = if self.media_type.is_foreign_layer() { self.urls.as_slice() } else { &[] };
        urls.iter().map(String::as_str).filter(is_http).take(FOREIGN_URLS)
    }

    /// Returns whether this is an attestation about another entry of the index (provenance, bill of materials), and not
    /// an image.
    ///
    /// BuildKit marks attestations with the platform `unknown/unknown` and the annotation `vnd.docker.reference.type`.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(|it| it.os == "unknown" || it.architecture == "unknown")
    }
}
