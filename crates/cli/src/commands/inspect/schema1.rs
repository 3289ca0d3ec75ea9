//! The values of skopeo's output for images in Docker's schema 1.

use serde_json::{Value, json};
use vmroot::model::Schema1;

use super::report::{ZERO_TIME, texts};

/// Returns the output for an image. Schema 1 has neither media types nor sizes of layers.
pub(super) fn report(image: &Schema1, name: Option<String>, tags: Vec<String>) -> anyhow::Result<Value> {
    let newest = newest(image)?;
    let digests: Vec<String> = image.layers().iter().map(|layer| layer.digest().to_string()).collect();
    let data = digests.iter().map(|digest| json!({"MIMEType": "", "Digest": digest, "Size": -1, "Annotations": null}));
    Ok(json!({
        "Name": name.unwrap_or_default(),
        "Tag": image.tag(),
        "Digest": image.digest(),
        "RepoTags": tags,
        "Created": newest["created"].as_str().unwrap_or(ZERO_TIME),
        "DockerVersion": text(&newest["docker_version"]),
        "Labels": texts(&newest["config"]["Labels"]),
        "Architecture": text(&newest["architecture"]),
        "Os": text(&newest["os"]),
        "LayersData": data.collect::<Vec<_>>(),
        "Layers": digests,
        "Env": texts(&newest["config"]["Env"]),
    }))
}

/// Returns the config in OCI's form. Its diff ids are empty, because only the layers themselves would give them.
pub(super) fn config(image: &Schema1) -> anyhow::Result<Value> {
    let mut config = newest(image)?;
    let diff_ids = image.layers().iter().filter(|layer| !layer.is_empty()).map(|_| "");
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>()});
    let steps = image.layers().iter().map(|layer| {
        let step: Value = serde_json::from_str(layer.v1_compatibility())?;
        Ok(json!({
            "created": step["created"].as_str().unwrap_or(ZERO_TIME),
            "created_by": texts(&step["container_config"]["Cmd"])
                .as_array()
                .map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
            "author": step["author"],
            "comment": step["comment"],
            "empty_layer": layer.is_empty(),
        }))
    });
    config["history"] = Value::Array(steps.collect::<serde_json::Result<_>>()?);
    Ok(config)
}

/// Returns the JSON object of the newest step, which has the config.
fn newest(image: &Schema1) -> anyhow::Result<Value> {
    let newest = image.layers().last().map_or("{}", |layer| layer.v1_compatibility());
    Ok(serde_json::from_str(newest)?)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
