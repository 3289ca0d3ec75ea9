//! Writes the tar of `docker save` in the layouts of several programs and versions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vmroot_model::Digest;

use super::tar::Members;
use super::{Image, descriptor, to_json};

/// The layout of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Docker before 25: a directory for each layer with `VERSION`, `json` and `layer.tar`. A repeated layer is a
    /// symbolic link to the first one. Layers are uncompressed.
    Docker24,
    /// Docker 25 and later: an OCI layout in the same tar, with uncompressed layers that `LayerSources` describes.
    Docker25,
    /// Docker with the containerd image store: like Docker 25, but with layers compressed as in the registry and
    /// without `LayerSources`.
    Containerd,
    /// skopeo: `HEX.tar`, and legacy directories with links to it.
    Skopeo,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 4] = [Self::Docker24, Self::Docker25, Self::Containerd, Self::Skopeo];
}

/// An image and its names, such as `alpine:3.20`. An image without a name is saved by its id.
pub type NamedImage<'a> = (&'a Image, &'a [&'a str]);

/// Returns an uncompressed archive of these images.
pub fn write(images: &[NamedImage<'_>], layout: Layout) -> Vec<u8> {
    let mut members = Members::default();
    let mut repositories: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut manifest = Vec::new();
    for (image, names) in images {
        let saved = match layout {
            Layout::Docker24 => docker_24(&mut members, image),
            Layout::Docker25 => blobs(&mut members, image, false),
            Layout::Containerd => blobs(&mut members, image, true),
            Layout::Skopeo => skopeo(&mut members, image),
        };
        for name in *names {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
            repositories.entry(repository.into()).or_default().insert(tag.into(), saved.top.clone().into());
        }
        let mut entry = json!({ "Config": saved.config, "RepoTags": names, "Layers": saved.layers });
        if names.is_empty() {
            entry["RepoTags"] = Value::Null;
        }
        if layout == Layout::Docker25 {
            entry["LayerSources"] = layer_sources(image);
        }
        manifest.push(entry);
    }
    members.file("manifest.json", to_json(&manifest.into()));
    if !repositories.is_empty() && layout != Layout::Containerd {
        members.file("repositories", to_json(&json!(repositories)));
    }
    if matches!(layout, Layout::Docker25 | Layout::Containerd) {
        members.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        members.file("index.json", to_json(&index(images, layout)));
    }
    members.to_tar()
}

/// The paths of an image's parts in the archive.
struct MemberPaths {
    config: String,
    layers: Vec<String>,
    /// The value in `repositories`.
    top: String,
}

fn docker_24(members: &mut Members, image: &Image) -> MemberPaths {
    let mut ids: Vec<String> = Vec::new();
    let mut layers = Vec::new();
    for layer in &image.layers {
        let id = legacy_id(image, ids.len());
        let path = format!("{id}/layer.tar");
        legacy_directory(members, &id, ids.last());
        // Docker searches for the layer in the part that it has written so far.
        let holder = members.iter().find_map(|entry| holder(entry, &layer.tar));
        match holder {
            Some(holder) if holder == path => {}
            Some(holder) => members.symlink(&path, &format!("../{holder}")),
            None => members.file(&path, &layer.tar),
        }
        layers.push(path);
        ids.push(id);
    }
    let config = format!("{}.json", image.config_digest.hex());
    members.file(&config, &image.config);
    MemberPaths { config, layers, top: ids.pop().unwrap_or_default() }
}

/// Returns the name of the entry, if it is a file with these bytes.
fn holder(entry: &crate::layer::Entry, bytes: &[u8]) -> Option<String> {
    match &entry.kind {
        crate::layer::Kind::File(content) if content.size() == bytes.len() as u64 && content.expand() == bytes => {
            String::from_utf8(entry.name.clone()).ok()
        }
        _ => None,
    }
}

fn skopeo(members: &mut Members, image: &Image) -> MemberPaths {
    let mut ids: Vec<String> = Vec::new();
    let mut layers = Vec::new();
    for layer in &image.layers {
        let path = format!("{}.tar", layer.diff_id.hex());
        if !members.contains(&path) {
            members.file(&path, &layer.tar);
        }
        let id = legacy_id(image, ids.len());
        legacy_directory(members, &id, ids.last());
        members.symlink(&format!("{id}/layer.tar"), &format!("../{path}"));
        layers.push(path);
        ids.push(id);
    }
    let config = format!("{}.json", image.config_digest.hex());
    members.file(&config, &image.config);
    MemberPaths { config, layers, top: ids.pop().unwrap_or_default() }
}

fn blobs(members: &mut Members, image: &Image, compressed: bool) -> MemberPaths {
    let mut layers = Vec::new();
    for layer in &image.layers {
        let (digest, bytes) = if compressed { (layer.digest, &layer.bytes) } else { (layer.diff_id, &layer.tar) };
        let path = blob_path(&digest);
        members.file(&path, bytes);
        layers.push(path);
    }
    let config = blob_path(&image.config_digest);
    members.file(&config, &image.config);
    let manifest = manifest_in_archive(image, compressed);
    members.file(&blob_path(&Digest::of(&manifest)), &manifest);
    let top = image.layers.last().map_or_else(String::new, |layer| layer.diff_id.hex());
    MemberPaths { config, layers, top }
}

/// Returns the image's own manifest, or the OCI manifest that Docker 25 generates for its uncompressed layers.
fn manifest_in_archive(image: &Image, compressed: bool) -> Vec<u8> {
    if compressed {
        return image.manifest.bytes.clone();
    }
    let layers: Vec<Value> = image.layers.iter().map(|layer| plain_layer(&layer.diff_id, &layer.tar)).collect();
    to_json(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": image.config_digest.to_string(),
            "size": image.config.len(),
        },
        "layers": layers,
    }))
}

fn plain_layer(diff_id: &Digest, tar: &[u8]) -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "size": tar.len(),
        "digest": diff_id.to_string(),
    })
}

fn layer_sources(image: &Image) -> Value {
    let sources = image.layers.iter().map(|layer| (layer.diff_id.to_string(), plain_layer(&layer.diff_id, &layer.tar)));
    Value::Object(sources.collect())
}

fn index(images: &[NamedImage<'_>], layout: Layout) -> Value {
    let mut entries = Vec::new();
    for (image, names) in images {
        let entry = match layout {
            Layout::Containerd => descriptor(&image.manifest),
            _ => {
                let manifest = manifest_in_archive(image, false);
                json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": Digest::of(&manifest).to_string(),
                    "size": manifest.len(),
                })
            }
        };
        for name in *names {
            let mut entry = entry.clone();
            let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
            entry["annotations"] = json!({
                "io.containerd.image.name": format!("docker.io/library/{name}"),
                "org.opencontainers.image.ref.name": tag,
            });
            entries.push(entry);
        }
        if names.is_empty() {
            entries.push(entry);
        }
    }
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    })
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Returns the v1 id of a layer. As in Docker, it depends on all layers up to this one, and for the top one also on the
/// config.
fn legacy_id(image: &Image, number: usize) -> String {
    let mut chain: Vec<u8> =
        image.layers[..=number].iter().flat_map(|layer| layer.diff_id.hex().into_bytes()).collect();
    if number + 1 == image.layers.len() {
        chain.extend_from_slice(&image.config);
    }
    Digest::of(&chain).hex()
}

fn legacy_directory(members: &mut Members, id: &str, parent: Option<&String>) {
    let mut json = json!({ "id": id, "created": "1970-01-01T00:00:00Z" });
    if let Some(parent) = parent {
        json["parent"] = parent.as_str().into();
    }
    members.file(&format!("{id}/VERSION"), "1.0");
    members.file(&format!("{id}/json"), to_json(&json));
}
