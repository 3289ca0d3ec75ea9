//! Images, and the archives and directories of images that programs write.
//!
//! [`ImageBuilder`] builds an image for one platform from layers, and [`IndexBuilder`] an index of several images. Both
//! produce [`Documents`] and blobs for a registry; [`docker_archive`] and [`oci_layout`] write them to disk.

mod builder;
mod compression;
pub mod docker_archive;
mod index;
pub mod oci_layout;
mod tar;

use vmroot_model::Digest;

pub use builder::{Format, ImageBuilder};
pub use compression::Compression;
pub use index::{Index, IndexBuilder};

/// A manifest or an index, with its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The media type, as in `Content-Type` and in descriptors.
    pub media_type: String,
    /// The JSON text.
    pub bytes: Vec<u8>,
}

/// Documents. The one that refers to the others is the last.
pub type Documents = Vec<Document>;
/// Blobs and their digests.
pub type Blobs = Vec<(Digest, Vec<u8>)>;

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The digest of the tar.
    pub diff_id: Digest,
    /// The uncompressed tar.
    pub tar: Vec<u8>,
    /// The media type of the compressed tar.
    pub media_type: String,
    /// The digest of the compressed tar.
    pub digest: Digest,
    /// The compressed tar.
    pub bytes: Vec<u8>,
}

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// The layers, lowest first.
    pub layers: Vec<LayerBlob>,
    /// The digest of the config, which Docker calls the image id.
    pub config_digest: Digest,
    /// The config as JSON text.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Document,
    /// The platform: `os/architecture` or `os/architecture/variant`.
    pub platform: String,
}

impl Image {
    /// Returns the config and the layers.
    pub fn blobs(&self) -> Blobs {
        let layers = self.layers.iter().map(|layer| (layer.digest, layer.bytes.clone()));
        layers.chain([(self.config_digest, self.config.clone())]).collect()
    }

    /// Returns the manifest.
    pub fn documents(&self) -> Documents {
        vec![self.manifest.clone()]
    }

    /// Returns a descriptor of the image, without a platform.
    fn descriptor(&self) -> serde_json::Value {
        descriptor(&self.manifest)
    }
}

fn descriptor(document: &Document) -> serde_json::Value {
    serde_json::json!({
        "mediaType": document.media_type,
        "digest": document.digest.to_string(),
        "size": document.bytes.len(),
    })
}

/// Returns the platform members of a descriptor or config, from `os/architecture/variant`.
fn platform(text: &str) -> serde_json::Map<String, serde_json::Value> {
    let keys = ["os", "architecture", "variant"];
    keys.into_iter().zip(text.split('/')).map(|(key, value)| (key.to_owned(), value.into())).collect()
}

fn to_json(value: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps have string keys")
}
