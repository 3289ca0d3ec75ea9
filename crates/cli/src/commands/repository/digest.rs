//! `digest`.

use serde_json::json;

use super::parse_image;
use crate::context::Context;
use crate::output;

/// Prints the digest of a manifest or index.
pub(crate) fn digest(context: &Context, image: &str) -> anyhow::Result<()> {
    let reference = parse_image(image)?;
    let digest = context.client()?.get_digest(&reference)?;
    match context.json() {
        true => output::print_json(&json!({"reference": reference.to_string(), "digest": digest}))?,
        false => output::print_line(digest.to_string())?,
    }
    Ok(())
}
