//! `referrers`.

use serde_json::json;

use super::parse_image;
use crate::context::Context;
use crate::output;

/// Prints the documents that refer to an image.
pub(crate) fn referrers(context: &Context, image: &str, artifact_type: Option<&str>) -> anyhow::Result<()> {
    let referrers = context.client()?.referrers(&parse_image(image)?, artifact_type)?;
    if context.json() {
        return Ok(output::print_json(&json!(referrers))?);
    }
    let rows: Vec<Vec<String>> = referrers
        .iter()
        .map(|descriptor| {
            let kind = descriptor.artifact_type.as_ref().unwrap_or(&descriptor.media_type);
            vec![descriptor.digest.to_string(), kind.to_string(), descriptor.size.to_string()]
        })
        .collect();
    Ok(output::print_table(&["DIGEST", "TYPE", "SIZE"], &rows)?)
}
