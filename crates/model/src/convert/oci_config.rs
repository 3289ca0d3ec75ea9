//! The config of a Docker image with the members that OCI defines (OCI image-spec, config.md), as Go writes them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::convert::Loss;
use crate::error::DocumentKind;
use crate::json_text::{RawObject, is_empty_value, to_vec};
use crate::{Digest, Error, ImageConfig, Platform, Result, go_time};

/// The members of a config and of its parts that OCI defines.
const IMAGE_MEMBERS: [&str; 10] =
    ["created", "author", "architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history"];
const CONTAINER_MEMBERS: [&str; 10] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
];

#[derive(Serialize)]
pub(super) struct OciConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(flatten)]
    platform: Platform,
    config: OciContainer<'a>,
    rootfs: OciRootFs<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<OciHistory<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OciContainer<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<&'a str, Empty>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: BTreeMap<&'a str, Empty>,
    #[serde(skip_serializing_if = "str::is_empty")]
    working_dir: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    args_escaped: bool,
}

/// The empty object that Go writes for the members of a set.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct OciRootFs<'a> {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: &'a [Digest],
}

#[derive(Serialize)]
struct OciHistory<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    created_by: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    author: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    comment: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

impl OciConfig<'_> {
    /// Returns the bytes of the converted config, and the members that it loses.
    pub(super) fn convert(config: &ImageConfig) -> Result<(Vec<u8>, Option<Loss>)> {
        let document: RawObject = serde_json::from_slice(config.raw()).map_err(|error| Error::InvalidDocument {
            document: DocumentKind::Config,
            digest: *config.digest(),
            reason: error.to_string(),
        })?;
        let container: RawObject = document.parsed("config");
        let converted = OciConfig::new(config, &document, &container);
        let names = lost_members(&document, &container);
        Ok((to_vec(&converted), (!names.is_empty()).then_some(Loss::ConfigMembers { names })))
    }

    fn new<'a>(config: &'a ImageConfig, document: &RawObject, container: &RawObject) -> OciConfig<'a> {
        let defaults = config.config();
        let rootfs: RawObject = document.parsed("rootfs");
        let history = config.history().iter().map(|step| OciHistory {
            created: step.created.as_deref().map(go_time::normalised),
            created_by: step.created_by.as_deref().unwrap_or_default(),
            author: step.author.as_deref().unwrap_or_default(),
            comment: step.comment.as_deref().unwrap_or_default(),
            empty_layer: step.empty_layer,
        });
        let set = |names: &'a [String]| names.iter().map(|it| (it.as_str(), Empty {})).collect();
        let platform = config.platform().clone();
        let os_version = platform.os_version.filter(|it| !it.is_empty());
        OciConfig {
            created: config.created().map(go_time::normalised),
            author: config.author().unwrap_or_default(),
            platform: Platform { os_version, ..platform },
            config: OciContainer {
                user: &defaults.user,
                exposed_ports: set(&defaults.exposed_ports),
                env: &defaults.env,
                entrypoint: &defaults.entrypoint,
                cmd: &defaults.cmd,
                volumes: set(&defaults.volumes),
                working_dir: &defaults.working_dir,
                labels: &defaults.labels,
                stop_signal: &defaults.stop_signal,
                args_escaped: container.parsed("ArgsEscaped"),
            },
            rootfs: OciRootFs {
                kind: Some(rootfs.parsed("type")).filter(|it: &String| !it.is_empty()).unwrap_or("layers".to_owned()),
                diff_ids: config.diff_ids(),
            },
            history: history.collect(),
        }
    }
}

/// Returns the names of the members that say something and that OCI does not define.
fn lost_members(document: &RawObject, container: &RawObject) -> Vec<String> {
    fn lost<'a>(object: &'a RawObject, known: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let says_something = |value: &RawValue| !is_empty_value(value);
        object
            .members()
            .filter(move |(name, value)| !known.contains(name) && says_something(value))
            .map(|(name, _)| name)
    }
    let image = lost(document, &IMAGE_MEMBERS).map(str::to_owned);
    image.chain(lost(container, &CONTAINER_MEMBERS).map(|name| format!("config.{name}"))).collect()
}
