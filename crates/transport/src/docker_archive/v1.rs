//! Archives from before Docker 1.10: `repositories`, and `ID/json` and `ID/layer.tar` for each layer.
//!
//! Such an image has no config and no diff ids. Both are created here, as Docker did when it migrated its store: the
//! config is the `json` of the top layer, without the fields of the old store, and with diff ids and history from the
//! chain of layers.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vmroot_compress::{Decoder, Limits};
use vmroot_model::{CONFIG_LIMIT, Digest, History, MANIFEST_LIMIT};

use super::{ImageParts, ListedImage, REPOSITORIES};
use crate::bundle::Bundle;
use crate::section::Section;
use crate::{Error, Result};

/// The maximum number of layers in a chain. Docker's own limit was 127.
const CHAIN_LIMIT: usize = 1024;

/// The fields of a layer's `json` that do not belong in a config.
const STORE_FIELDS: [&str; 7] = ["id", "parent", "parent_id", "layer_id", "Size", "size", "throwaway"];

/// The fields of a layer's `json` for the history.
#[derive(Deserialize)]
struct Layer {
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    container_config: Option<ContainerConfig>,
}

/// The container that a layer was committed from.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    #[serde(default)]
    cmd: Option<Vec<Option<String>>>,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<Digest>,
}

/// Returns the name of the member that describes a layer.
pub(super) fn json_member(id: &str) -> String {
    format!("{id}/json")
}

/// Reads `repositories` and returns the images, each with all its names.
pub(super) fn list(bundle: &dyn Bundle, section: Section) -> Result<Vec<ListedImage>> {
    let bytes = bundle.read(REPOSITORIES, section, MANIFEST_LIMIT)?;
    let repositories: BTreeMap<String, Option<BTreeMap<String, Option<String>>>> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::member(bundle.path(), REPOSITORIES, format!("is not a list of images: {error}")))?;
    let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (repository, tags) in repositories {
        for (tag, id) in tags.unwrap_or_default() {
            let Some(id) = id else { continue };
            images.entry(id).or_default().push(format!("{repository}:{tag}"));
        }
    }
    Ok(images
        .into_iter()
        .map(|(id, names)| ListedImage { parts: ImageParts::V1Chain(id), names, parent: None })
        .collect())
}

/// Creates the config of an image. Returns it with the names of the layer members, the base layer first.
pub(super) fn build_config(bundle: &dyn Bundle, id: &str, limits: &Limits) -> Result<(Vec<u8>, Vec<String>)> {
    let chain = read_chain(bundle, id)?;
    let mut config: Map<String, Value> = parse_json(bundle, id)?;
    for field in STORE_FIELDS {
        config.remove(field);
    }
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    let mut history = Vec::new();
    for (id, layer) in chain {
        let member = format!("{id}/layer.tar");
        let section = bundle.require(&member, "layer")?;
        let plain = Decoder::new(section, limits)
            .map_err(|source| Error::Decompress { path: bundle.path().to_owned(), source })?;
        diff_ids.push(bundle.digest(plain)?);
        layers.push(member);
        history.push(layer.into_history());
    }
    let rootfs = serde_json::to_value(RootFs { kind: "layers", diff_ids }).expect("digests are plain data");
    let history = serde_json::to_value(history).expect("history is plain data");
    config.extend([("rootfs".to_owned(), rootfs), ("history".to_owned(), history)]);
    Ok((serde_json::to_vec(&config).expect("the fields came from JSON"), layers))
}

/// Returns the layers of an image with their ids, the base layer first.
fn read_chain(bundle: &dyn Bundle, top: &str) -> Result<Vec<(String, Layer)>> {
    let mut seen = HashSet::new();
    let mut chain = Vec::new();
    let mut next = Some(top.to_owned());
    while let Some(id) = next {
        if !seen.insert(id.clone()) {
            return Err(Error::member(bundle.path(), &json_member(&id), "is its own ancestor"));
        }
        if chain.len() == CHAIN_LIMIT {
            let path = bundle.path().to_owned();
            return Err(Error::ArchiveLimit { path, what: "the layers of one image", limit: CHAIN_LIMIT as u64 });
        }
        let layer: Layer = parse_json(bundle, &id)?;
        next = layer.parent.clone().filter(|parent| !parent.is_empty());
        chain.push((id, layer));
    }
    chain.reverse();
    Ok(chain)
}

fn parse_json<T: serde::de::DeserializeOwned>(bundle: &dyn Bundle, id: &str) -> Result<T> {
    let member = json_member(id);
    let section = bundle.require(&member, "image config")?;
    let bytes = bundle.read(&member, section, CONFIG_LIMIT)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::member(bundle.path(), &member, format!("is not an image's JSON: {error}")))
}

impl Layer {
    fn into_history(self) -> History {
        let words = self.container_config.and_then(|config| config.cmd);
        let command = words.map(|words| words.into_iter().flatten().collect::<Vec<_>>().join(" "));
        History {
            created: self.created,
            created_by: command,
            author: self.author,
            comment: self.comment,
            empty_layer: false,
        }
    }
}
