//! Image configs: the platform of an image, the defaults of its containers, and its layers (OCI image-spec, config.md).

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::DocumentKind;
use crate::select;
use crate::{Digest, Error, Hasher, Manifest, Platform, Result, json};

/// The largest size of an image config in bytes: 4 MiB.
pub const CONFIG_LIMIT: u64 = 4 << 20;

/// The config of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    raw: Vec<u8>,
    digest: Digest,
    platform: Platform,
    created: Option<String>,
    author: Option<String>,
    config: ContainerConfig,
    diff_ids: Vec<Digest>,
    history: Vec<History>,
}

/// The defaults for running a container of the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// The user: `user`, `uid`, `user:group` or `uid:gid`. Empty for root.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The ports that the image serves, such as `80/tcp`, sorted.
    #[serde(
        deserialize_with = "json::string_set",
        serialize_with = "json::serialize_string_set",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exposed_ports: Vec<String>,
    /// The environment variables, as `NAME=value`.
    #[serde(deserialize_with = "json::non_null_list", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(deserialize_with = "json::command_line", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments after those of the entrypoint. Without an entrypoint, the program and its arguments.
    #[serde(deserialize_with = "json::command_line", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// The paths of volumes, whose data outlives the container, sorted.
    #[serde(
        deserialize_with = "json::string_set",
        serialize_with = "json::serialize_string_set",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub volumes: Vec<String>,
    /// The working directory. Empty for `/`.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The labels.
    #[serde(deserialize_with = "json::string_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the program, such as `SIGTERM` or `15`. Empty for the default.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// The health check of the program. An extension of Docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell for commands in shell form. An extension of Docker.
    #[serde(deserialize_with = "json::command_line", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Instructions for builds on top of the image. An extension of Docker.
    #[serde(deserialize_with = "json::command_line", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// A health check of Docker. Times are in nanoseconds; 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// The test: `NONE`, or `CMD` or `CMD-SHELL` followed by the command.
    #[serde(deserialize_with = "json::command_line", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// The time between two checks.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// The time after which a check has failed.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// The time that the program takes to start. Failed checks in this time do not count.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// The time between two checks in the start period.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// The number of consecutive failures after which the container is unhealthy.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// One step of building the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// The time of the step. It should be in RFC 3339 format, but is not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The author of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step changed no files and therefore has no layer.
    #[serde(deserialize_with = "json::null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The fields of the document that are read.
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
    #[serde(rename = "os.features", default, deserialize_with = "json::non_null_list")]
    os_features: Vec<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default, deserialize_with = "json::null_as_default")]
    config: ContainerConfig,
    #[serde(default, deserialize_with = "json::null_as_default")]
    rootfs: RootFs,
    #[serde(default, deserialize_with = "json::limited_non_null_list")]
    history: Vec<History>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "json::limited_list")]
    diff_ids: Vec<DiffId>,
}

/// A diff id. Docker does not check them, and some configs have only the hex digits of a SHA-256.
struct DiffId(Digest);

impl<'de> Deserialize<'de> for DiffId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let text = if text.len() == 64 && !text.contains(':') { format!("sha256:{text}") } else { text };
        Digest::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

impl ImageConfig {
    /// Parses an image config, and computes its digest, the image id.
    ///
    /// # Errors
    /// - [`Error::DocumentTooLarge`] for more than [`CONFIG_LIMIT`] bytes.
    /// - [`Error::DocumentLimit`] for a list with too many entries, or JSON that is nested too deep.
    /// - [`Error::InvalidDocument`] for invalid JSON or invalid fields.
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
            diff_ids: body.rootfs.diff_ids.into_iter().map(|diff_id| diff_id.0).collect(),
            history: body.history,
        })
    }

    /// Returns the bytes the config was read from.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Returns the SHA-256 of [`Self::raw`], which is the image id.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the platform of the image, in the spelling of the config. Any field may be empty.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Returns the architecture, in the spelling of the config.
    pub fn architecture(&self) -> &str {
        &self.platform.architecture
    }

    /// Returns the operating system, in the spelling of the config.
    pub fn os(&self) -> &str {
        &self.platform.os
    }

    /// Returns the variant of the architecture.
    pub fn variant(&self) -> Option<&str> {
        self.platform.variant.as_deref()
    }

    /// Returns the time when the image was built. It should be in RFC 3339 format, but is not checked.
    pub fn created(&self) -> Option<&str> {
        self.created.as_deref()
    }

    /// Returns the author of the image.
    pub fn author(&self) -> Option<&str> {
        self.author.as_deref()
    }

    /// Returns the defaults for running a container of the image.
    pub fn config(&self) -> &ContainerConfig {
        &self.config
    }

    /// Returns the digests of the uncompressed layers, the base first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// Returns the steps of building the image, the first step first. May be empty.
    pub fn history(&self) -> &[History] {
        &self.history
    }

    /// Checks that the image runs on `wanted`, for images that were not selected from an index by platform.
    ///
    /// Configs are unreliable. An empty architecture or operating system matches, and a variant only counts if it is
    /// newer than the wanted one.
    ///
    /// # Errors
    /// [`Error::ArchitectureMismatch`] if the image does not run on `wanted`.
    pub fn check_platform(&self, wanted: &Platform) -> Result<()> {
        select::check_platform(wanted, &self.platform)
    }

    /// Checks that the config has one diff id for each layer of the manifest.
    ///
    /// # Errors
    /// [`Error::LayerCountMismatch`] if the numbers differ.
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

/// Computes the chain ids of a stack of layers, the base first (OCI image-spec, config.md, "Layer ChainID").
///
/// The chain id at position n identifies the result of applying the layers up to n. The last one identifies the root.
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
