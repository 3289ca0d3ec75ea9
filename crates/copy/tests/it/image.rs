//! Sample images.

use serde_json::{Value, json};
use vmroot_model::Descriptor;
use vmroot_testkit::image::{Compression, Format, Image, ImageBuilder};

use crate::layer;
use crate::source::MemorySource;

/// Builds an image of two layers with gzip for an architecture.
pub(crate) fn image(architecture: &str) -> Image {
    builder(architecture).compression(Compression::Gzip).layer(&layer("base")).layer(&layer(architecture)).build()
}

/// Builds an image of two plain layers.
pub(crate) fn plain(format: Format) -> Image {
    builder("amd64").format(format).compression(Compression::None).layer(&layer("base")).layer(&layer("top")).build()
}

pub(crate) fn builder(architecture: &str) -> ImageBuilder {
    ImageBuilder::new().platform(&format!("linux/{architecture}"))
}

/// Returns a descriptor as JSON.
pub(crate) fn json_of(descriptor: &Descriptor) -> Value {
    json!({"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size})
}

/// Adds an artifact with one part to a source, as the top document.
pub(crate) fn add_artifact(source: &mut MemorySource, part: &str, subject: Option<&Descriptor>) -> Descriptor {
    let config = source.add_blob(b"{}", "application/vnd.oci.empty.v1+json");
    let part = source.add_blob(part.as_bytes(), "text/plain");
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example",
        "config": json_of(&config),
        "layers": [json_of(&part)],
    });
    if let Some(subject) = subject {
        manifest["subject"] = json_of(subject);
    }
    source.add_document(&serde_json::to_vec(&manifest).unwrap(), "application/vnd.oci.image.manifest.v1+json")
}
