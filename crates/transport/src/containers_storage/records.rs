//! The records of `images.json` and `layers.json`. Fields that are not needed for reading are not listed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use vmroot_model::Digest;

/// An image.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ImageRecord {
    /// The id. For a pulled image it is the digest of the config, in hex.
    pub(super) id: String,
    /// The full names, with domains and tags.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) names: Vec<String>,
    /// The digest that the image was stored under, if one was given.
    #[serde(default)]
    pub(super) digest: Option<String>,
    /// The id of the top layer. An image without layers has none.
    #[serde(default, rename = "layer")]
    pub(super) top_layer: Option<String>,
    /// The names of the files with manifests, the config and signatures.
    #[serde(default, rename = "big-data-names", deserialize_with = "null_as_default")]
    pub(super) big_data: Vec<String>,
    /// The digests of these files.
    #[serde(default, rename = "big-data-digests", deserialize_with = "null_as_default")]
    pub(super) big_data_digests: BTreeMap<String, String>,
    /// JSON of containers/image: the lengths of the signatures.
    #[serde(default)]
    pub(super) metadata: Option<String>,
}

/// A layer.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LayerRecord {
    /// The id, also the name of its directory.
    pub(super) id: String,
    /// The id of the layer below.
    #[serde(default)]
    pub(super) parent: Option<String>,
    /// The digest of the plain tar. A layer that was pulled in parts may not have it.
    #[serde(default, rename = "diff-digest")]
    pub(super) diff_digest: Option<String>,
    /// The length in bytes of the plain tar. Zero or negative if it is not known.
    #[serde(default, rename = "diff-size")]
    pub(super) diff_size: Option<i64>,
    /// More about the layer.
    #[serde(default, deserialize_with = "null_as_default")]
    flags: BTreeMap<String, serde_json::Value>,
}

/// The flag with the diff id of a layer that was pulled in parts.
const EXPECTED_DIFF_ID: &str = "expected-layer-diffid";

impl ImageRecord {
    /// Returns whether the image, or one of its manifests, has this digest.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        let text = digest.to_string();
        let manifests = self.big_data_digests.iter().filter(|(name, _)| name.starts_with("manifest"));
        self.digest.as_ref() == Some(&text) || manifests.map(|(_, digest)| digest).any(|own| *own == text)
    }
}

impl LayerRecord {
    /// Returns the diff id.
    pub(super) fn diff_id(&self) -> Option<Digest> {
        let expected = || self.flags.get(EXPECTED_DIFF_ID).and_then(serde_json::Value::as_str);
        let text = self.diff_digest.as_deref().filter(|digest| !digest.is_empty()).or_else(expected)?;
        Digest::parse(text).ok()
    }

    /// Returns the length in bytes of the plain tar, if the record has it.
    pub(super) fn size(&self) -> Option<u64> {
        self.diff_size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0)
    }
}

fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
