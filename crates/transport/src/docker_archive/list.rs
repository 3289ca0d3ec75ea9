//! The list of images in `manifest.json`.

use serde::Deserialize;
use vmroot_model::{Digest, MANIFEST_LIMIT};

use super::{ImageParts, ListedImage, MANIFEST_JSON};
use crate::bundle::Bundle;
use crate::section::Section;
use crate::{Error, Result};

/// One image of the list. `LayerSources` is ignored, because the layers themselves show their compression.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<Option<String>>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(default)]
    parent: Option<String>,
}

/// Reads the list.
pub(super) fn read(bundle: &dyn Bundle, section: Section) -> Result<Vec<ListedImage>> {
    let bytes = bundle.read(MANIFEST_JSON, section, MANIFEST_LIMIT)?;
    let entries: Option<Vec<Entry>> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::member(bundle.path(), MANIFEST_JSON, format!("is not a list of images: {error}")))?;
    let entries = entries.ok_or_else(|| Error::NullManifest { path: bundle.path().to_owned() })?;
    Ok(entries.into_iter().map(Entry::into_listed_image).collect())
}

impl Entry {
    fn into_listed_image(self) -> ListedImage {
        let parts = ImageParts::Members { config: self.config, layers: self.layers.unwrap_or_default() };
        let names = self.repo_tags.unwrap_or_default().into_iter().flatten().collect();
        // The image can be used without its parent, so an invalid id is ignored.
        let parent = self.parent.and_then(|parent| Digest::parse(&parent).ok());
        ListedImage { parts, names, parent }
    }
}
