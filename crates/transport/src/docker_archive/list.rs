//! `manifest.json`: the images of a docker save archive.

use serde::Deserialize;
use vmroot_model::MANIFEST_LIMIT;

use super::{Listed, MANIFEST_JSON, Recipe};
use crate::bundle::Bundle;
use crate::section::Section;
use crate::{Error, Result};

/// One image of the list. `LayerSources` and `Parent` are left out: what the first says is seen in the layers
/// themselves, the second is about `docker build`'s cache.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<Option<String>>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads the list.
pub(super) fn read(bundle: &dyn Bundle, section: Section) -> Result<Vec<Listed>> {
    let bytes = bundle.read(MANIFEST_JSON, section, MANIFEST_LIMIT)?;
    let entries: Option<Vec<Entry>> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::member(bundle.path(), MANIFEST_JSON, format!("is not a list of images: {error}")))?;
    let entries = entries.ok_or_else(|| Error::NullManifest { path: bundle.path().to_owned() })?;
    Ok(entries.into_iter().map(Entry::into_listed).collect())
}

impl Entry {
    fn into_listed(self) -> Listed {
        let recipe = Recipe::Members { config: self.config, layers: self.layers.unwrap_or_default() };
        Listed { recipe, names: self.repo_tags.unwrap_or_default().into_iter().flatten().collect() }
    }
}
