//! `instances`.

use std::time::SystemTime;

use serde_json::{Value, json};
use vmroot::ImageInstance;

use super::parse_repository;
use crate::context::Context;
use crate::{output, times};

/// Prints the manifests and indexes of a repository, oldest first.
pub(crate) fn instances(context: &Context, repository: &str) -> anyhow::Result<()> {
    let instances = context.client()?.list_instances(&parse_repository(repository)?)?;
    if context.json() {
        return Ok(output::print_json(&instances.iter().map(to_value).collect())?);
    }
    let row = |instance: &ImageInstance| {
        let time = |time: Option<SystemTime>| time.and_then(times::rfc3339_of).unwrap_or_else(|| "-".to_owned());
        vec![
            instance.digest.to_string(),
            output::format_bytes(instance.size),
            time(instance.created),
            time(instance.uploaded),
            instance.tags.join(","),
        ]
    };
    let rows: Vec<_> = instances.iter().map(row).collect();
    Ok(output::print_table(&["DIGEST", "SIZE", "CREATED", "UPLOADED", "TAGS"], &rows)?)
}

fn to_value(instance: &ImageInstance) -> Value {
    json!({
        "digest": instance.digest,
        "sizeBytes": instance.size,
        "tags": instance.tags,
        "created": instance.created.and_then(times::rfc3339_of),
        "uploaded": instance.uploaded.and_then(times::rfc3339_of),
    })
}
