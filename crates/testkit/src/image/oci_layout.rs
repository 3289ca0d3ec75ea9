//! Writes OCI image layouts, as directories and as archives (image-spec, image-layout.md).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::tar::Members;
use super::{Document, Image, Index, descriptor, to_json};
use crate::error::{Error, Result};
use crate::layer::Kind;

/// An item of a layout's index.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// An image for one platform.
    Image(&'a Image),
    /// An index.
    Index(&'a Index),
}

/// An item and its `org.opencontainers.image.ref.name`, if any.
pub type NamedItem<'a> = (Item<'a>, Option<&'a str>);

impl Item<'_> {
    fn top(&self) -> &Document {
        match self {
            Self::Image(image) => &image.manifest,
            Self::Index(index) => &index.document,
        }
    }
}

/// Returns the layout as an uncompressed tar.
pub fn archive(items: &[NamedItem<'_>]) -> Vec<u8> {
    members(items).to_tar()
}

/// Writes the layout into an existing directory.
///
/// # Errors
/// [`Error::Io`] if a file cannot be written.
pub fn write(directory: &Path, items: &[NamedItem<'_>]) -> Result<()> {
    for entry in members(items).iter() {
        let name = std::str::from_utf8(&entry.name).expect("made of digests and fixed names");
        let path = directory.join(name);
        match &entry.kind {
            Kind::File(content) => fs::write(&path, content.expand()).map_err(Error::io("write", &path))?,
            _ => fs::create_dir_all(&path).map_err(Error::io("make", &path))?,
        }
    }
    Ok(())
}

fn members(items: &[NamedItem<'_>]) -> Members {
    let mut members = Members::default();
    for (item, _) in items {
        let (blobs, documents) = match item {
            Item::Image(image) => (image.blobs(), image.documents()),
            Item::Index(index) => (index.blobs(), index.documents()),
        };
        let documents = documents.into_iter().map(|document| (document.digest, document.bytes));
        for (digest, bytes) in blobs.into_iter().chain(documents) {
            members.file(&format!("blobs/{}/{}", digest.algorithm().name(), digest.hex()), bytes);
        }
    }
    members.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    members.file("index.json", to_json(&index(items)));
    members
}

fn index(items: &[NamedItem<'_>]) -> Value {
    let entries: Vec<Value> = items
        .iter()
        .map(|(item, name)| {
            let mut entry = descriptor(item.top());
            if let Some(name) = name {
                entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
            }
            entry
        })
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    })
}
