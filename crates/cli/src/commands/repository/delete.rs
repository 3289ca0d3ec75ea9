//! `delete`.

use serde_json::json;
use vmroot::transport::Format;
use vmroot::{Digest, ImageName, Reference};

use super::parse_image;
use crate::args::DeleteArguments;
use crate::context::Context;
use crate::exit::Advised;
use crate::output;
use crate::transports::Transports;

/// Deletes an image, and prints its digest.
pub(crate) fn delete(context: &Context, arguments: &DeleteArguments) -> anyhow::Result<()> {
    let image = &arguments.image;
    let name = if ImageName::has_transport(image) { ImageName::parse(image).ok() } else { None };
    if let Some(name @ ImageName::Archive { format: Format::OciLayout, .. }) = name {
        let options = Transports { shared_blob_dir: arguments.shared_blob_dir.clone(), ..Transports::default() };
        let client = context.client()?.with_transports(options.options());
        return print(context, image, &client.delete_named(&name)?);
    }
    if let Some(hint) = name.and_then(|name| other_command(&name)) {
        let message = format!("{image}: delete is for images of registries and OCI layouts");
        return Err(Advised::usage(message, hint).into());
    }
    delete_in_registry(context, &parse_image(image)?)
}

/// Deletes a manifest or index by its digest.
fn delete_in_registry(context: &Context, reference: &Reference) -> anyhow::Result<()> {
    let digest = context.client()?.delete(reference)?;
    if reference.digest().is_none() {
        output::print_note(&format!("note: all tags of {} that name {digest} are deleted", reference.name()));
    }
    print(context, &reference.to_string(), &[digest])
}

/// Prints the digests of what is deleted. An image of a layout is mostly one entry of its index.
fn print(context: &Context, image: &str, digests: &[Digest]) -> anyhow::Result<()> {
    if context.json() {
        return Ok(output::print_json(&json!({"reference": image, "digest": digests.first()}))?);
    }
    Ok(digests.iter().try_for_each(|digest| output::print_line(digest.to_string()))?)
}

/// Returns the hint for an image that another command deletes.
fn other_command(name: &ImageName) -> Option<String> {
    Some(match name {
        ImageName::Cache(name) => format!("`vmroot rm {name}` removes an image of the cache"),
        ImageName::Storage(_) => "`podman rmi` removes the images of its store".to_owned(),
        ImageName::Daemon(_) => "`docker rmi` removes the images of a Docker engine".to_owned(),
        ImageName::Archive { .. } | ImageName::Tarball(_) | ImageName::Sif(_) => {
            "remove the file or the directory itself".to_owned()
        }
        _ => return None,
    })
}
