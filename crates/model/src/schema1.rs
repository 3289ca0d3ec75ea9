//! Docker's schema 1: manifests that hold the config of an image in pieces, one for each layer. They are obsolete.
//!
//! A signed manifest is a JSON web signature in the "pretty" form of libtrust. Its digest is that of the signed bytes,
//! not of the file.

mod jws;

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::document::MANIFEST_LIMIT;
use crate::error::DocumentKind;
use crate::{Digest, Error, ImageConfig, MediaType, Result, json};

pub(crate) use jws::sign;

/// The compressed form of an empty tar, which schema 1 has for each step of the build without files.
pub(crate) const EMPTY_LAYER: [u8; 32] = [
    31, 139, 8, 0, 0, 9, 110, 136, 0, 255, 98, 24, 5, 163, 96, 20, 140, 88, 0, 8, 0, 0, 255, 255, 46, 175, 181, 239, 0,
    4, 0, 0,
];

/// An image in Docker's schema 1. [`AnyDocument::parse`](crate::AnyDocument::parse) creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema1 {
    raw: Vec<u8>,
    digest: Digest,
    is_signed: bool,
    name: String,
    tag: String,
    architecture: String,
    layers: Vec<Schema1Layer>,
}

/// A layer of a schema 1 manifest, with its step of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema1Layer {
    digest: Digest,
    text: String,
    step: Step,
}

/// The members of a step that are read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Step {
    id: String,
    #[serde(default, deserialize_with = "json::null_as_default")]
    parent: String,
    #[serde(default)]
    created: Option<String>,
    #[serde(default, deserialize_with = "json::null_as_default")]
    author: String,
    #[serde(default, deserialize_with = "json::null_as_default")]
    comment: String,
    #[serde(default, deserialize_with = "json::null_as_default")]
    container_config: StepCommand,
    #[serde(default, deserialize_with = "json::null_as_default")]
    throwaway: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct StepCommand {
    #[serde(rename = "Cmd", default, deserialize_with = "json::command_line")]
    cmd: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: i64,
    #[serde(default, deserialize_with = "json::null_as_default")]
    name: String,
    #[serde(default, deserialize_with = "json::null_as_default")]
    tag: String,
    #[serde(default, deserialize_with = "json::null_as_default")]
    architecture: String,
    #[serde(default, deserialize_with = "json::limited_list")]
    fs_layers: Vec<FsLayer>,
    #[serde(default, deserialize_with = "json::limited_list")]
    history: Vec<History>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FsLayer {
    blob_sum: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct History {
    v1_compatibility: String,
}

impl Schema1 {
    /// Parses a manifest, signed or not. The signatures are not verified: their keys are unknown.
    ///
    /// Only the signed bytes are read, so that the digest is that of everything that was read.
    ///
    /// # Errors
    /// - [`Error::DocumentTooLarge`] and [`Error::DocumentLimit`] as for other manifests.
    /// - [`Error::InvalidDocument`] for invalid JSON, a member that is missing or invalid, another number of layers than
    ///   of steps, and ids of steps that do not form a chain.
    pub fn parse(raw: Vec<u8>) -> Result<Self> {
        let size = raw.len() as u64;
        if size > MANIFEST_LIMIT {
            return Err(Error::DocumentTooLarge { document: DocumentKind::Manifest, size, limit: MANIFEST_LIMIT });
        }
        let payload = jws::payload(&raw)?;
        let signed_bytes = payload.as_deref().unwrap_or(&raw);
        let digest = Digest::of(signed_bytes);
        let body: Body = json::parse_object(signed_bytes, DocumentKind::Manifest, &digest)?;
        let invalid = |reason| Error::InvalidDocument { document: DocumentKind::Manifest, digest, reason };
        if body.schema_version != 1 {
            return Err(invalid(format!("schemaVersion is {}, not 1", body.schema_version)));
        }
        let layers = layers(body.fs_layers, body.history).map_err(invalid)?;
        let Body { name, tag, architecture, .. } = body;
        let is_signed = payload.is_some();
        Ok(Self { raw, digest, is_signed, name, tag, architecture, layers })
    }

    /// Returns the bytes the manifest was read from, with its signatures.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Returns the digest: the SHA-256 of the signed bytes, or of all bytes if there are no signatures.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the media type, which depends on whether the manifest has signatures.
    pub fn media_type(&self) -> MediaType {
        if self.is_signed { MediaType::DOCKER_SCHEMA1_SIGNED } else { MediaType::DOCKER_SCHEMA1 }
    }

    /// Returns the repository without its registry, as the author of the manifest named it. May be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the tag, as the author of the manifest named it. May be empty.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the architecture, in the spelling of the manifest. May be empty.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns all layers, the base first. At least one.
    pub fn layers(&self) -> &[Schema1Layer] {
        &self.layers
    }

    /// Returns what the manifest holds of the image's config, from the newest step. Its diff ids and its history are
    /// empty, and its digest is that of no blob.
    ///
    /// # Errors
    /// The errors of [`ImageConfig::parse`].
    pub fn config(&self) -> Result<ImageConfig> {
        ImageConfig::parse(self.newest().as_bytes().to_vec())
    }

    /// Returns the JSON text of the newest step, which has the config of the image.
    pub(crate) fn newest(&self) -> &str {
        self.layers.last().map_or("{}", |it| &it.text)
    }
}

impl Schema1Layer {
    /// Returns the digest of the compressed layer.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns whether the step changed no files. Newer formats have no layer for it.
    pub fn is_empty(&self) -> bool {
        self.step.throwaway
    }

    /// Returns the JSON text of the step, the manifest's `v1Compatibility`.
    pub fn v1_compatibility(&self) -> &str {
        &self.text
    }

    pub(crate) fn created(&self) -> Option<&str> {
        self.step.created.as_deref()
    }

    pub(crate) fn created_by(&self) -> String {
        self.step.container_config.cmd.join(" ")
    }

    pub(crate) fn author(&self) -> &str {
        &self.step.author
    }

    pub(crate) fn comment(&self) -> &str {
        &self.step.comment
    }
}

/// Joins the layers and the steps, which a manifest has newest first.
fn layers(digests: Vec<FsLayer>, history: Vec<History>) -> std::result::Result<Vec<Schema1Layer>, String> {
    if digests.len() != history.len() {
        return Err(format!("it has {} fsLayers but {} steps in its history", digests.len(), history.len()));
    }
    let pairs = digests.into_iter().zip(history).rev().enumerate();
    let layers = pairs.map(|(number, (layer, history))| {
        let text = history.v1_compatibility;
        let step: Step = match text.trim_ascii_start().starts_with('{') {
            true => serde_json::from_str(&text).map_err(|error| format!("step {number} of its history: {error}"))?,
            false => return Err(format!("step {number} of its history is not a JSON object")),
        };
        Ok(Schema1Layer { digest: layer.blob_sum, text, step })
    });
    chained(layers.collect::<std::result::Result<_, _>>()?)
}

/// Checks that each step has the one before it as its parent. Of neighbours with the same id, the older stays, as in
/// other tools.
fn chained(layers: Vec<Schema1Layer>) -> std::result::Result<Vec<Schema1Layer>, String> {
    let mut seen = BTreeSet::new();
    let mut chain: Vec<Schema1Layer> = Vec::with_capacity(layers.len());
    for layer in layers {
        let Step { id, parent, .. } = &layer.step;
        if id.len() != 64 || !id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("the id {id:?} of a step is not 64 hex digits"));
        }
        let previous = chain.last().map_or("", |it| it.step.id.as_str());
        if id == previous {
            continue;
        }
        if !seen.insert(id.clone()) {
            return Err(format!("the id {id} is that of two steps"));
        }
        if parent != previous {
            return Err(format!("step {id} has the parent {parent:?}, not {previous:?}"));
        }
        chain.push(layer);
    }
    if chain.is_empty() { Err("it has no fsLayers".to_owned()) } else { Ok(chain) }
}

/// Returns the digest of a manifest or index: the SHA-256 of its bytes, or of the signed bytes of a schema 1 manifest
/// with signatures.
///
/// # Errors
/// [`Error::InvalidDocument`] for signatures that do not say which bytes they sign.
pub fn manifest_digest(bytes: &[u8]) -> Result<Digest> {
    Ok(Digest::of(jws::payload(bytes)?.as_deref().unwrap_or(bytes)))
}

/// Returns whether bytes are the manifest or index with a digest. See [`manifest_digest`].
pub fn is_manifest_of(bytes: &[u8], digest: &Digest) -> bool {
    digest.is_of(bytes) || jws::payload(bytes).ok().flatten().is_some_and(|payload| digest.is_of(&payload))
}
