//! Image configs: what an image runs on, how it is run, and what its layers hold (OCI image-spec, config.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::DocumentKind;
use crate::select;
use crate::{Digest, Error, Hasher, Manifest, Platform, Result, json};

/// The most bytes that an image config may have: 4 MiB.
pub const CONFIG_LIMIT: u64 = 4 << 20;

/// An image's config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    raw: Vec<u8>,
    digest: Digest,
    platform: Platform,
    created: Option<String>,
    author: Option<String>,
    config: ContainerConfig,
    diff_ids: Vec<Digest>,
    history: Vec<HistoryEntry>,
}

/// How a container of the image is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// `user`, `uid`, `user:group` or `uid:gid`; empty for root.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The ports the image serves, as `80/tcp`, sorted.
    #[serde(deserialize_with = "json::set", serialize_with = "json::write_set", skip_serializing_if = "Vec::is_empty")]
    pub exposed_ports: Vec<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "json::present", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program, with its first arguments.
    #[serde(deserialize_with = "json::words", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments after those of the entrypoint, or the program where there is none.
    #[serde(deserialize_with = "json::words", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Paths whose contents are not part of the image's life, sorted.
    #[serde(deserialize_with = "json::set", serialize_with = "json::write_set", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// The directory to start in; empty for `/`.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Free notes.
    #[serde(deserialize_with = "json::notes", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end, as `SIGTERM` or `15`; empty for the default.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// How to see whether the program does its work; Docker's addition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell for commands in shell form; Docker's addition.
    #[serde(deserialize_with = "json::words", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Instructions for builds on top of the image; Docker's addition.
    #[serde(deserialize_with = "json::words", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// Docker's health check; times are in nanoseconds, 0 for the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, or `CMD` or `CMD-SHELL` and the command.
    #[serde(deserialize_with = "json::words", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// The time between two checks.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// The time after which a check has failed.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// The time the program has to start.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// The time between two checks while the program starts.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row there may be.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// One step of how the image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// When, by RFC 3339 if the maker kept to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step changed no file and so made no layer.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The document, as far as it is understood.
#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "json::null_as_default")]
    architecture: String,
    #[serde(default, deserialize_with = "json::null_as_default")]
    os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(rename = "os.version", default)]
    os_version: Option<String>,
    #[serde(rename = "os.features", default, deserialize_with = "json::present")]
    os_features: Vec<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default, deserialize_with = "json::null_as_default")]
    config: ContainerConfig,
    #[serde(default, deserialize_with = "json::null_as_default")]
    rootfs: RootFs,
    #[serde(default, deserialize_with = "json::present_list")]
    history: Vec<HistoryEntry>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "json::list")]
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads an image config and computes its digest, the image id.
    ///
    /// # Errors
    /// [`Error::DocumentTooLarge`] over [`CONFIG_LIMIT`], [`Error::InvalidDocument`].
    pub fn parse(raw: Vec<u8>) -> Result<Self> {
        let size = raw.len() as u64;
        if size > CONFIG_LIMIT {
            return Err(Error::DocumentTooLarge { document: DocumentKind::Config, size, limit: CONFIG_LIMIT });
        }
        let digest = Digest::of(&raw);
        let body: Body = json::parse_object(&raw, DocumentKind::Config, &digest)?;
        let platform = Platform {
            architecture: body.architecture,
            os: body.os,
            os_version: body.os_version,
            os_features: body.os_features,
            variant: body.variant.filter(|it| !it.is_empty()),
        };
        Ok(Self {
            raw,
            digest,
            platform,
            created: body.created,
            author: body.author,
            config: body.config,
            diff_ids: body.rootfs.diff_ids,
            history: body.history,
        })
    }

    /// The bytes the config was read from.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The SHA-256 of [`Self::raw`]: the image id.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What the image runs on, in the config's own spelling; any part of it may be empty.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// The architecture, in the config's own spelling.
    pub fn architecture(&self) -> &str {
        &self.platform.architecture
    }

    /// The operating system, in the config's own spelling.
    pub fn os(&self) -> &str {
        &self.platform.os
    }

    /// The variant of the architecture.
    pub fn variant(&self) -> Option<&str> {
        self.platform.variant.as_deref()
    }

    /// When the image was made, by RFC 3339 if its maker kept to it.
    pub fn created(&self) -> Option<&str> {
        self.created.as_deref()
    }

    /// Who made the image.
    pub fn author(&self) -> Option<&str> {
        self.author.as_deref()
    }

    /// How a container of the image is run.
    pub fn config(&self) -> &ContainerConfig {
        &self.config
    }

    /// The digests of the uncompressed layers, the base first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// How the image was made, the first step first; may be empty.
    pub fn history(&self) -> &[HistoryEntry] {
        &self.history
    }

    /// Checks that the image runs on `wanted`, for images that no index chose by platform.
    ///
    /// An empty architecture or operating system passes, and a variant is held against the image only if it is newer
    /// than the wanted one: makers of images are careless with both.
    ///
    /// # Errors
    /// [`Error::ArchitectureMismatch`].
    pub fn check_platform(&self, wanted: &Platform) -> Result<()> {
        select::check_platform(wanted, &self.platform)
    }

    /// Checks that there is one diff id for each layer of the manifest.
    ///
    /// # Errors
    /// [`Error::LayerCountMismatch`].
    pub fn check_layers(&self, manifest: &Manifest) -> Result<()> {
        let (diff_ids, layers) = (self.diff_ids.len(), manifest.layers().len());
        if diff_ids == layers {
            return Ok(());
        }
        Err(Error::LayerCountMismatch {
            config: Box::new(self.digest),
            diff_ids,
            manifest: Box::new(*manifest.digest()),
            layers,
        })
    }
}

/// The chain ids of a stack of layers: what names the result of applying the first, the first two, … layers.
///
/// Base first; the last one names the whole root (OCI image-spec, config.md, "Layer ChainID").
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => *diff_id,
            Some(parent) => {
                let mut hasher = Hasher::new(crate::Algorithm::Sha256);
                hasher.update(format!("{parent} {diff_id}").as_bytes());
                hasher.finish()
            }
        };
        chain.push(next);
    }
    chain
}
