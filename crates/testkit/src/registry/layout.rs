//! Serves the content of an OCI layout.

use std::{fs, io, path::Path};

use serde_json::Value;

use super::Registry;

impl Registry {
    /// Adds the content of an OCI layout with one image to `repository`, with the tag `latest`.
    ///
    /// # Errors
    /// If the layout cannot be read.
    pub fn put_layout(&self, layout: &Path, repository: &str) -> io::Result<()> {
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
        let top = index["manifests"][0]["digest"].as_str().unwrap_or_default();
        for blob in fs::read_dir(layout.join("blobs/sha256"))? {
            let path = blob?.path();
            let bytes = fs::read(&path)?;
            // Only manifests and indexes have a media type in their content.
            let document = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
            let Some(media_type) = document["mediaType"].as_str() else {
                self.put_blob(bytes);
                continue;
            };
            let is_top = path.file_name().is_some_and(|name| top == format!("sha256:{}", name.display()));
            self.put_manifest(repository, is_top.then_some("latest"), media_type, &bytes);
        }
        Ok(())
    }
}
