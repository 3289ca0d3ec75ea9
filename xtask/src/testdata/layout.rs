//! Writes an OCI image layout.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use vmroot_model::Digest;
use vmroot_testkit::layer::{self, Encoding};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A directory with `blobs`, `oci-layout` and `index.json`.
pub struct Layout {
    directory: PathBuf,
}

/// A blob of the layout.
pub struct Blob {
    /// The digest of the blob's bytes.
    pub digest: Digest,
    media_type: &'static str,
    size: usize,
}

/// A layer of the layout.
pub struct Layer {
    /// The compressed tar.
    pub blob: Blob,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
}

/// The compression of a layer.
#[derive(Clone, Copy)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Layout {
    /// Creates an empty layout in a new directory.
    pub fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory.join("blobs/sha256"))?;
        write_json(&directory.join("oci-layout"), &json!({ "imageLayoutVersion": "1.0.0" }))?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Adds a layer.
    pub fn layer(&self, layer: &layer::Layer, compression: Compression) -> Result<Layer> {
        let tar = layer.to_tar(&Encoding::default());
        let (media_type, bytes) = match compression {
            Compression::Gzip => ("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&tar)?),
            Compression::Zstd => ("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(&tar[..], 19)?),
        };
        Ok(Layer { blob: self.blob(media_type, &bytes)?, diff_id: Digest::of(&tar) })
    }

    /// Adds a JSON document.
    pub fn json(&self, media_type: &'static str, document: &Value) -> Result<Blob> {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// Writes the index of all platforms as a blob with the name `tag`.
    pub fn finish(&self, tag: &str, manifests: &[Value]) -> Result<()> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        // skopeo and umoci select the image by the first annotation. The second is its name after it is loaded.
        let annotations = json!({ "annotations": {
            "org.opencontainers.image.ref.name": tag,
            "io.containerd.image.name": format!("docker.io/library/{tag}:latest"),
        } });
        let named = self.json(INDEX, &index)?.descriptor(&annotations);
        let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [named] });
        write_json(&self.directory.join("index.json"), &top)
    }

    fn blob(&self, media_type: &'static str, bytes: &[u8]) -> Result<Blob> {
        let digest = Digest::of(bytes);
        fs::write(self.directory.join("blobs/sha256").join(digest.hex()), bytes)?;
        Ok(Blob { digest, media_type, size: bytes.len() })
    }
}

impl Blob {
    /// Returns the descriptor with additional fields.
    pub fn descriptor(&self, more: &Value) -> Value {
        let mut descriptor =
            json!({ "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size });
        if let (Some(descriptor), Some(more)) = (descriptor.as_object_mut(), more.as_object()) {
            descriptor.extend(more.clone());
        }
        descriptor
    }
}

/// Compresses with gzip, without a name and a time in the header.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn write_json(path: &Path, document: &Value) -> Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(document)?);
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
