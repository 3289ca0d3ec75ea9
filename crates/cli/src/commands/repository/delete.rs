//! `delete`.

use serde_json::json;
use vmroot::ImageName;

use super::parse_image;
use crate::context::Context;
use crate::exit::UsageError;
use crate::output;

/// Deletes a manifest or index by its digest, and prints the digest.
pub(crate) fn delete(context: &Context, image: &str) -> anyhow::Result<()> {
    if let Some(text) = other_command(image) {
        return Err(UsageError(text).into());
    }
    let reference = parse_image(image)?;
    let digest = context.client()?.delete(&reference)?;
    if reference.digest().is_none() {
        output::print_note(&format!("note: all tags of {} that name {digest} are deleted", reference.name()));
    }
    match context.json() {
        true => output::print_json(&json!({"reference": reference.to_string(), "digest": digest}))?,
        false => output::print_line(digest.to_string())?,
    }
    Ok(())
}

/// Returns the message for an image that another command deletes.
fn other_command(image: &str) -> Option<String> {
    let parsed = if ImageName::has_transport(image) { ImageName::parse(image).ok()? } else { return None };
    let command = match parsed {
        ImageName::Cache(name) => format!("`vmroot rm {name}` removes an image of the cache"),
        ImageName::Storage(_) => "containers-storage: is read only; `podman rmi` removes its images".to_owned(),
        ImageName::Daemon(_) => "`docker rmi` removes the images of a Docker engine".to_owned(),
        _ => return None,
    };
    Some(format!("{image}: delete is for images of registries; {command}"))
}
