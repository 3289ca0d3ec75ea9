//! `tag` for images of registries.

use serde_json::json;
use vmroot::Reference;

use super::parse_image;
use crate::context::Context;
use crate::exit::UsageError;
use crate::output;

/// Gives an image another tag in its repository, or in another one. Prints the digest, which stays the same.
pub(crate) fn tag(context: &Context, source: &str, destination: &str) -> anyhow::Result<()> {
    let source = parse_image(source)?;
    let destination = match destination.strip_prefix("docker://") {
        Some(_) => parse_image(destination)?,
        None => tag_or_name(&source, destination)?,
    };
    if destination.digest().is_some() {
        return Err(UsageError(format!("{destination}: a tag cannot be set for a digest")).into());
    }
    let digest = context.client()?.set_tag(&source, &destination)?;
    match context.json() {
        true => output::print_json(&json!({
            "source": source.to_string(),
            "reference": destination.to_string(),
            "digest": digest,
        }))?,
        false => output::print_line(digest.to_string())?,
    }
    Ok(())
}

/// Parses a tag of the source's repository, or the name of an image.
fn tag_or_name(source: &Reference, text: &str) -> anyhow::Result<Reference> {
    match text.contains(['/', ':']) {
        true => parse_image(text),
        false => Ok(source.with_tag(text).map_err(vmroot::Error::from)?),
    }
}
