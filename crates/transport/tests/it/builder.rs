//! Builders of images and of archives with them.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use vmroot_model::{Digest, MediaType};

/// An image whose layers contain one file each.
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
}

/// A member of a tar.
#[derive(Clone)]
pub(crate) enum Member {
    File(String, Vec<u8>),
    Symlink(String, String),
}

pub(crate) fn file(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Member {
    Member::File(name.into(), content.into())
}

pub(crate) fn tar(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match member {
            Member::File(name, content) => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, name, &content[..]).unwrap();
            }
            Member::Symlink(name, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

impl Image {
    /// Creates an image with `layers` layers. A different seed creates a different image.
    pub(crate) fn new(seed: u8, layers: usize) -> Self {
        let layer = |number| {
            // Some files are longer than any buffer.
            let content: Vec<u8> = (0..number * 200_000 + 1_000).map(|at| (at % 251) as u8 ^ seed).collect();
            tar(&[file(format!("file-{seed}-{number}"), content)])
        };
        Self::of((0..layers).map(layer).collect())
    }

    pub(crate) fn of(layers: Vec<Vec<u8>>) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({
            "architecture": "arm64",
            "os": "linux",
            "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        Self { config: config.to_string().into_bytes(), layers }
    }

    pub(crate) fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    fn config_name(&self) -> String {
        self.id().hex() + ".json"
    }

    fn layer_name(&self, number: usize) -> String {
        format!("{}/layer.tar", Digest::of(format!("{}-{number}", self.id()).as_bytes()).hex())
    }

    /// Returns the image's entry in `manifest.json`, with member names as before Docker 25.
    pub(crate) fn listed(&self, tags: &[&str]) -> Value {
        let layers: Vec<String> = (0..self.layers.len()).map(|number| self.layer_name(number)).collect();
        json!({ "Config": self.config_name(), "RepoTags": tags, "Layers": layers })
    }

    /// Returns the image's members as before Docker 25: a repeated layer is a link to the first.
    pub(crate) fn members(&self) -> Vec<Member> {
        let mut members = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = self.layer_name(number);
            members.push(match self.layers[..number].iter().position(|earlier| earlier == layer) {
                Some(first) => Member::Symlink(name, format!("../{}", self.layer_name(first))),
                None => file(name, layer.clone()),
            });
        }
        members.push(file(self.config_name(), self.config.clone()));
        members
    }

    /// Returns the image's blobs, with layers as `encode` stores them. The last blob is the manifest.
    pub(crate) fn blobs(&self, media_type: &MediaType, encode: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
        let layers: Vec<Vec<u8>> = self.layers.iter().map(|layer| encode(layer)).collect();
        let descriptor = |media_type: &MediaType, blob: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(blob), "size": blob.len() });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "config": descriptor(&MediaType::OCI_CONFIG, &self.config),
            "layers": layers.iter().map(|layer| descriptor(media_type, layer)).collect::<Vec<_>>(),
        });
        [vec![self.config.clone()], layers, vec![manifest.to_string().into_bytes()]].concat()
    }
}

/// Returns the members of a docker save archive from before version 25.
pub(crate) fn docker_save(images: &[(&Image, &[&str])]) -> Vec<Member> {
    let mut members: Vec<Member> = images.iter().flat_map(|(image, _)| image.members()).collect();
    let list: Vec<Value> = images.iter().map(|(image, tags)| image.listed(tags)).collect();
    members.push(file("manifest.json", Value::from(list).to_string()));
    members
}

pub(crate) fn blob_name(blob: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(blob).hex())
}

/// Returns an entry of an index.
pub(crate) fn entry(media_type: &MediaType, blob: &[u8], more: &Value) -> Value {
    let mut entry = json!({ "mediaType": media_type, "digest": Digest::of(blob), "size": blob.len() });
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

/// Returns the members of an OCI layout.
pub(crate) fn oci_layout(blobs: &[Vec<u8>], entries: &[Value]) -> Vec<Member> {
    let mut members = vec![file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)];
    members.extend(blobs.iter().map(|blob| file(blob_name(blob), blob.clone())));
    members.push(file("index.json", json!({ "schemaVersion": 2, "manifests": entries }).to_string()));
    members
}

/// Writes members as files under a directory.
pub(crate) fn unpack(members: &[Member], directory: &Path) {
    for member in members {
        let Member::File(name, content) = member else { panic!("only files are unpacked") };
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
