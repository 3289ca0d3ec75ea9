//! Metadata of images that is not part of their configs.
//!
//! It is a file for each id. If it is lost or damaged, the image is still there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vmroot_cache::PUBLISHED_MODE;
use vmroot_model::Digest;
use vmroot_output::write_atomically;

use crate::collect::remove;
use crate::{Result, Store};

/// The extension of the files.
const EXTENSION: &str = "meta";

/// The metadata of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) id: Digest,
    /// The id of the image from which this one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Digest>,
    /// The time of the last update, in nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_updated: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) built_locally: bool,
}

impl Metadata {
    pub(crate) fn new(id: Digest) -> Self {
        Self { id, parent: None, last_updated: None, built_locally: false }
    }

    /// Returns whether there is nothing to keep.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::new(self.id)
    }
}

pub(crate) fn file_name(id: &Digest) -> String {
    format!("{}.{EXTENSION}", id.hex())
}

pub(crate) fn is_metadata(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

pub(crate) fn parse(path: &Path, bytes: &[u8]) -> std::result::Result<Metadata, String> {
    let metadata: Metadata = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if path.file_name().is_none_or(|name| *name != *file_name(&metadata.id)) {
        return Err(format!("it is that of the image {}", metadata.id));
    }
    Ok(metadata)
}

impl Store {
    pub(crate) fn write_metadata(&self, id: &Digest, metadata: Option<&Metadata>) -> Result<()> {
        let path = self.metadata_path(id);
        match metadata {
            Some(metadata) => {
                let bytes = serde_json::to_vec(metadata).expect("metadata has no keys but strings");
                Ok(write_atomically(&path, PUBLISHED_MODE, &bytes)?)
            }
            None => remove(&path).map(drop),
        }
    }

    pub(crate) fn metadata_path(&self, id: &Digest) -> PathBuf {
        self.cache.layout().images().join(file_name(id))
    }
}
