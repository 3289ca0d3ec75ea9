//! The values of skopeo's output.

use serde_json::{Map, Value, json};
use vmroot::ImageDocuments;
use vmroot::model::{Algorithm, Hasher};

/// Go's zero time, which Docker's format of configs has for a missing time.
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Returns the output for an image. The config and the manifest are read as JSON, because `null` and empty values differ
/// there.
pub(super) fn report(
    documents: &ImageDocuments,
    name: Option<String>,
    tags: Vec<String>,
    algorithm: Algorithm,
) -> anyhow::Result<Value> {
    let config: Value = serde_json::from_slice(documents.config.raw())?;
    let manifest: Value = serde_json::from_slice(documents.manifest.raw())?;
    let is_docker = documents.manifest.media_type().is_docker();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let created = match &config["created"] {
        Value::String(created) => json!(created),
        _ if is_docker => json!(ZERO_TIME),
        _ => Value::Null,
    };
    let layers = documents.manifest.layers();
    let data = layers.iter().enumerate().map(|(index, layer)| {
        json!({
            "MIMEType": layer.media_type,
            "Digest": layer.digest,
            "Size": layer.size,
            // Docker's manifests have no annotations.
            "Annotations": if is_docker { Value::Null } else { texts(&manifest["layers"][index]["annotations"]) },
        })
    });
    Ok(json!({
        "Name": name.unwrap_or_default(),
        "Tag": "",
        "Digest": digest(documents.top.raw(), algorithm),
        "RepoTags": tags,
        "Created": created,
        "DockerVersion": text(&config["docker_version"]),
        "Labels": texts(&config["config"]["Labels"]),
        "Architecture": text(&config["architecture"]),
        "Os": text(&config["os"]),
        "Layers": layers.iter().map(|layer| layer.digest.to_string()).collect::<Vec<_>>(),
        "LayersData": data.collect::<Vec<_>>(),
        "Env": texts(&config["config"]["Env"]),
    }))
}

fn digest(bytes: &[u8], algorithm: Algorithm) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string()
}

/// Returns a map or a list with its texts only. Go reads `null` in it as an empty text.
pub(super) fn texts(value: &Value) -> Value {
    let text = |value: &Value| json!(value.as_str().unwrap_or_default());
    match value {
        Value::Object(object) => {
            Value::Object(object.iter().map(|(key, value)| (key.clone(), text(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(text).collect()),
        _ => Value::Null,
    }
}
