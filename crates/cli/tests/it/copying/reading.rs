//! Reading of copies with skopeo, and their comparison.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};

use super::places::{Place, Places};
use super::{Case, error_of, skopeo};

/// The annotation of images with zstd in lists. Newer versions of skopeo than Debian's write it.
const ZSTD: &str = "io.github.containers.compression.zstd";

/// A copy as skopeo reads it.
#[derive(Debug)]
pub(super) struct Copied {
    /// The bytes of the top document.
    top: Vec<u8>,
    /// All documents and blobs, without the digests and sizes of layers.
    content: Value,
}

impl Copied {
    pub(super) fn read(place: &Place, places: &Places<'_>, case: &Case<'_>) -> Result<Self, String> {
        let directory = places.reading(place);
        let target = format!("dir:{}", directory.display());
        let read = skopeo(&["copy", "--quiet", "--all", "--src-tls-verify=false", &place.name, &target]);
        if read.status.success() {
            let top = fs::read(directory.join("manifest.json")).unwrap();
            let content = document(&directory, "manifest.json");
            return Ok(Self { top, content });
        }
        // skopeo 1.9 writes Docker's manifests into layouts, and does not find them there. It does not read foreign
        // layers, whose URLs lead nowhere.
        let is_unreadable = case.options.contains(&"v2s2") || case.options.contains(&"--preserve-digests");
        let top = if place.path.is_dir() {
            top_of_layout(&place.path)
        } else if is_unreadable && place.transport == "oci-archive" {
            Vec::new()
        } else {
            let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &place.name]);
            if !raw.status.success() || case.sample.name != "foreign" {
                return Err(format!("skopeo does not read {}: {}", place.name, error_of(&read)));
            }
            raw.stdout
        };
        Ok(Self { content: types(&top), top })
    }

    /// Compares the copy of skopeo with that of vmroot.
    pub(super) fn compare(&self, ours: &Self, case: &Case<'_>) -> Result<(), String> {
        let is_archive = case.source.transport == "docker-archive";
        let is_kept = self.top == case.sample.documents.last().unwrap().bytes;
        if is_kept && self.top != ours.top {
            return Err("skopeo keeps the document, vmroot changes it".to_owned());
        }
        // skopeo says that the plain layers of an archive are compressed.
        let (theirs, ours) = if is_archive {
            (without_gzip(&self.content), without_gzip(&ours.content))
        } else {
            (self.content.clone(), ours.content.clone())
        };
        let mut differences = Vec::new();
        find_differences("", &theirs, &ours, &mut differences);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }
}

/// Returns the bytes of the only document of a layout.
fn top_of_layout(path: &Path) -> Vec<u8> {
    let index: Value = serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    fs::read(path.join("blobs").join(digest.replace(':', "/"))).unwrap()
}

/// Returns the media types of a document that is read alone.
fn types(bytes: &[u8]) -> Value {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let of =
        |blobs: &Value| blobs.as_array().into_iter().flatten().map(|it| it["mediaType"].clone()).collect::<Value>();
    json!([document["mediaType"], of(&document["layers"]), of(&document["manifests"]), document["annotations"]])
}

/// Reads a document of a directory of the `dir` transport, and everything that it refers to.
fn document(directory: &Path, name: &str) -> Value {
    let bytes = fs::read(directory.join(name)).unwrap();
    let mut value: Value = serde_json::from_slice(&bytes).unwrap();
    if let Some(entries) = value.get_mut("manifests").and_then(Value::as_array_mut) {
        for entry in entries {
            let name = format!("{}.manifest.json", hex(entry));
            entry["content"] = match directory.join(&name).exists() {
                true => document(directory, &name),
                false => json!("missing"),
            };
            remove(entry, &["digest", "size"]);
            if let Some(annotations) = entry.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(ZSTD);
            }
            if entry.get("annotations") == Some(&json!({})) {
                remove(entry, &["annotations"]);
            }
        }
        return value;
    }
    let config = fs::read(directory.join(hex(&value["config"]))).unwrap();
    value["config"]["content"] =
        serde_json::from_slice(&config).unwrap_or_else(|_| json!(String::from_utf8_lossy(&config)));
    remove(&mut value["config"], &["digest", "size"]);
    for layer in value["layers"].as_array_mut().unwrap() {
        let bytes = fs::read(directory.join(hex(layer))).unwrap();
        layer["content"] = json!(vmroot_model::Digest::of(&plain(&bytes)).to_string());
        remove(layer, &["digest", "size"]);
    }
    value
}

fn hex(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().split_once(':').unwrap().1.to_owned()
}

fn remove(value: &mut Value, names: &[&str]) {
    for name in names {
        value.as_object_mut().unwrap().remove(*name);
    }
}

/// Decompresses a layer.
fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let is_whole = match bytes {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).is_ok(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::stream::copy_decode(bytes, &mut plain).is_ok(),
        _ => false,
    };
    if is_whole { plain } else { bytes.to_vec() }
}

/// Returns a document whose media types do not say that layers are compressed.
fn without_gzip(value: &Value) -> Value {
    let text = value.to_string().replace(".tar.gzip\"", ".tar\"").replace(".tar+gzip\"", ".tar\"");
    serde_json::from_str(&text).unwrap()
}

fn find_differences(place: &str, theirs: &Value, ours: &Value, found: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            for name in left.keys().chain(right.keys().filter(|name| !left.contains_key(*name))) {
                let at = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                find_differences(&format!("{place}/{name}"), &at(left), &at(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (number, (left, right)) in left.iter().zip(right).enumerate() {
                find_differences(&format!("{place}/{number}"), left, right, found);
            }
        }
        _ if theirs == ours => (),
        _ => found.push(format!("{place} is {theirs} by skopeo and {ours} by vmroot")),
    }
}
