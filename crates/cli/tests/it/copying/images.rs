//! Images, lists and artifacts of all kinds.

use serde_json::{Value, json};
use vmroot_model::Digest;
use vmroot_testkit::image::{
    Blobs, Compression, Document, Documents, Format, Image, ImageBuilder, Index, IndexBuilder,
};
use vmroot_testkit::layer::{Entry, Layer};

/// An image, a list or an artifact, with its documents and blobs.
pub(super) struct Sample {
    pub(super) name: &'static str,
    /// The documents. The last is the top one.
    pub(super) documents: Documents,
    pub(super) blobs: Blobs,
    pub(super) is_list: bool,
    pub(super) is_artifact: bool,
    /// Whether the sample is one of those that go through each pair of transports.
    pub(super) is_common: bool,
}

impl Sample {
    fn image(name: &'static str, image: &Image) -> Self {
        let (documents, blobs) = (image.documents(), image.blobs());
        Self { name, documents, blobs, is_list: false, is_artifact: false, is_common: false }
    }

    fn list(name: &'static str, list: &Index) -> Self {
        let (documents, blobs) = (list.documents(), list.blobs());
        Self { name, documents, blobs, is_list: true, is_artifact: false, is_common: false }
    }

    fn common(self) -> Self {
        Self { is_common: true, ..self }
    }

    /// Returns whether the top document has one of Docker's types, which tools do not look for in layouts.
    pub(super) fn is_docker(&self) -> bool {
        self.documents.last().unwrap().media_type.contains("docker")
    }
}

fn layer(name: &str) -> Layer {
    Layer::new([Entry::file(name, name.repeat(2000)).mtime(1_600_000_000, 0)])
}

fn builder(format: Format, architecture: &str) -> ImageBuilder {
    let history = |name: &str| json!({"created": "2020-01-02T03:04:05Z", "created_by": name});
    ImageBuilder::new()
        .format(format)
        .platform(&format!("linux/{architecture}"))
        .setting("Env", vec!["PATH=/usr/bin"])
        .setting("Labels", json!({"label": "value"}))
        .config_member("created", "2020-01-02T03:04:05Z")
        .config_member("history", json!([history("base"), history("top")]))
}

fn image(format: Format, architecture: &str) -> Image {
    builder(format, architecture).layer(&layer("base")).layer(&layer(architecture)).build()
}

/// Builds an image with members of its config that OCI does not define.
fn docker_image() -> Image {
    builder(Format::Docker, "amd64")
        .config_member("docker_version", "20.10.24")
        .config_member("container", "0123456789abcdef")
        .config_member("container_config", json!({"Cmd": ["sh"]}))
        .setting("Healthcheck", json!({"Test": ["CMD", "true"]}))
        .setting("OnBuild", json!(["RUN true"]))
        .setting("Shell", json!(["/bin/sh", "-c"]))
        .layer(&layer("base"))
        .layer(&layer("top"))
        .build()
}

/// Builds an image whose layers have one compression each.
fn packed(format: Format, compressions: [Compression; 2]) -> Image {
    let names = ["base", "top"];
    let layers = compressions.into_iter().zip(names);
    layers
        .fold(builder(format, "amd64"), |image, (compression, name)| image.compression(compression).layer(&layer(name)))
        .build()
}

/// Replaces the manifest of an image.
fn with_manifest(name: &'static str, image: &Image, change: impl FnOnce(&mut Value)) -> Sample {
    let mut manifest: Value = serde_json::from_slice(&image.manifest.bytes).unwrap();
    change(&mut manifest);
    let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
    let document = Document { digest: Digest::of(&bytes), media_type: image.manifest.media_type.clone(), bytes };
    Sample { documents: vec![document], ..Sample::image(name, image) }
}

fn artifact(name: &'static str, config_type: &str) -> Sample {
    let blob = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let (config, first, second) = (&b"{}"[..], &b"the first part"[..], &b"\x1f\x8b\x08 is no gzip"[..]);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let bytes = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "artifactType": "application/vnd.example",
        "config": blob(config_type, config),
        "layers": [blob("text/plain", first), blob("application/octet-stream", second)],
        "annotations": {"org.opencontainers.image.title": "artifact"},
    }))
    .unwrap();
    let blobs = [config, first, second].map(|bytes| (Digest::of(bytes), bytes.to_vec())).to_vec();
    let documents = vec![Document { digest: Digest::of(&bytes), media_type: media_type.to_owned(), bytes }];
    Sample { name, documents, blobs, is_list: false, is_artifact: true, is_common: false }
}

/// Returns all samples.
pub(super) fn samples() -> Vec<Sample> {
    use Compression::{Gzip, None, Zstd};

    let list = |format| IndexBuilder::new().format(format).image(image(format, "amd64")).image(image(format, "arm64"));
    let oci = image(Format::Oci, "amd64");
    let repeated =
        builder(Format::Oci, "amd64").layer(&layer("base")).layer(&layer("top")).layer(&layer("base")).build();
    let nested = IndexBuilder::new().image(image(Format::Oci, "s390x")).build();
    let annotated = |manifest: &mut Value| {
        manifest["annotations"] = json!({"key": "value"});
        manifest["layers"][0]["annotations"] = json!({"layer": "base"});
        manifest["subject"] = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(b"").to_string(), "size": 3});
    };
    let foreign = |manifest: &mut Value| {
        manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        manifest["layers"][0]["urls"] = json!(["http://127.0.0.1:1/layer"]);
    };
    vec![
        Sample::image("oci", &oci).common(),
        Sample::image("docker", &docker_image()).common(),
        Sample::list("list", &list(Format::Oci).build()).common(),
        Sample::list("docker-list", &list(Format::Docker).build()),
        artifact("artifact", "application/vnd.oci.empty.v1+json").common(),
        artifact("chart", "application/vnd.cncf.helm.config.v1+json"),
        Sample::list("attested", &list(Format::Oci).attestation().build()),
        Sample::list("nested", &list(Format::Oci).index(nested).build()),
        Sample::image("plain", &packed(Format::Oci, [None, Gzip])),
        Sample::image("docker-plain", &packed(Format::Docker, [None, Gzip])),
        Sample::image("zstd", &packed(Format::Oci, [Zstd, Gzip])),
        Sample::image("repeated", &repeated),
        Sample::image("empty", &builder(Format::Oci, "amd64").config_member("history", json!([])).build()),
        with_manifest("annotated", &oci, annotated),
        with_manifest("foreign", &docker_image(), foreign),
    ]
}
