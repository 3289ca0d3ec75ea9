//! Whole images, and the files and directories that programs keep them in.
//!
//! [`ImageBuilder`] makes an image of layers for one platform, [`IndexBuilder`] puts several into an index. Both give
//! [`Documents`] and blobs for a registry to serve; [`docker_archive`] and [`oci_layout`] write them to disk.

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

/// A manifest or an index, exactly as it is to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Of the bytes.
    pub digest: Digest,
    /// As in `Content-Type` and in descriptors.
    pub media_type: String,
    /// JSON.
    pub bytes: Vec<u8>,
}

/// Documents; the one that names the others comes last.
pub type Documents = Vec<Document>;
/// Blobs by digest.
pub type Blobs = Vec<(Digest, Vec<u8>)>;

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// Digest of the tar.
    pub diff_id: Digest,
    /// The tar.
    pub tar: Vec<u8>,
    /// Media type of the compressed form.
    pub media_type: String,
    /// Digest of the compressed form.
    pub digest: Digest,
    /// The compressed form.
    pub bytes: Vec<u8>,
}

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// From the bottom to the top.
    pub layers: Vec<LayerBlob>,
    /// Digest of the config: what Docker calls the image id.
    pub config_digest: Digest,
    /// The config, JSON.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Document,
    /// `os/architecture` or `os/architecture/variant`.
    pub platform: String,
}

impl Image {
    /// Config and layers.
    pub fn blobs(&self) -> Blobs {
        let layers = self.layers.iter().map(|layer| (layer.digest, layer.bytes.clone()));
        layers.chain([(self.config_digest, self.config.clone())]).collect()
    }

    /// The manifest.
    pub fn documents(&self) -> Documents {
        vec![self.manifest.clone()]
    }

    /// What an index says of it, without a platform.
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

/// The platform of a descriptor or config, from `os/architecture/variant`.
fn platform(text: &str) -> serde_json::Map<String, serde_json::Value> {
    let keys = ["os", "architecture", "variant"];
    keys.into_iter().zip(text.split('/')).map(|(key, value)| (key.to_owned(), value.into())).collect()
}

fn to_json(value: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps have string keys")
}
