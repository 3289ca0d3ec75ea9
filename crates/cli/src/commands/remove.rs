//! `rm`: removes names of images.

use serde_json::{Value, json};
use vmroot::{Client, Holder, Image, ImageName, Record};

use super::gc::holder_json;
use crate::context::Context;
use crate::exit::Advised;
use crate::output;

/// Removes the records of images. Without `force`, an image that something needs keeps its last name.
pub(crate) fn remove(context: &Context, names: &[String], force: bool) -> anyhow::Result<()> {
    let client = context.client()?;
    let mut all = Vec::new();
    let result = names.iter().try_for_each(|name| remove_one(context, &client, name, force, &mut all));
    // After an error, the images before it are removed too.
    if context.json() && (result.is_ok() || !all.is_empty()) {
        output::print_json(&all.into())?;
    }
    result
}

/// Removes one image or name, and prints what it removed, or adds it to `all` for JSON.
fn remove_one(context: &Context, client: &Client, name: &str, force: bool, all: &mut Vec<Value>) -> anyhow::Result<()> {
    let image = client.find(name, context.requested_platform())?;
    context.note_platform(name, &image.record().platform);
    let by_name = ImageName::has_transport(name) || is_found_by_name(&image, name);
    let holders = match by_name && has_other_names(client, &image)? {
        // The image stays under its other names.
        true => Vec::new(),
        false => client.holders(&image)?,
    };
    if !holders.is_empty() && !force {
        let message = format!("{name} is in use by {}", list(&holders));
        return Err(Advised::new(message, "`vmroot rm --force` removes it anyway").into());
    }
    let removed = if by_name { client.remove_name(&image) } else { client.remove(&image) }?;
    let users: Vec<_> = holders.into_iter().filter(|holder| !matches!(holder, Holder::Child { .. })).collect();
    for record in &removed.records {
        if context.json() {
            all.push(json!({
                "reference": record.reference.as_ref().map(ToString::to_string),
                "id": record.id(),
                "platform": record.platform.to_string(),
                "stillNamed": removed.still_named,
                "heldBy": users.iter().map(holder_json).collect::<Vec<_>>(),
            }));
            continue;
        }
        output::print_line(record.reference.as_ref().map_or_else(|| record.id().to_string(), ToString::to_string))?;
    }
    let same = removed.records.first().and_then(|record| Some(record.reference.as_ref()?.to_string()));
    let same = same.and_then(|name| client.find(&name, Some(&removed.records[0].platform)).ok());
    if let Some(directory) = same.and_then(|image| image.record().shared_cache.clone()) {
        output::print_note(&format!("{name} is still in the shared cache {}", directory.display()));
    }
    if removed.still_named {
        return Ok(());
    }
    if users.is_empty() {
        output::print_note("`vmroot gc` frees the space that no image needs");
    } else {
        output::print_note(&format!("the files of {name} stay until they are no longer in use by {}", list(&users)));
    }
    Ok(())
}

/// Returns whether an image was found by a name, which may be short, and not by its id or the beginning of that.
fn is_found_by_name(image: &Image, name: &str) -> bool {
    let Some(own) = &image.record().reference else { return false };
    let is_own = vmroot::Reference::parse(name).is_ok_and(|reference| own.name() == reference.name());
    is_own || !vmroot::is_id(name) && !image.id().hex().starts_with(name)
}

/// Returns whether an image has a record besides that by which it was found.
fn has_other_names(client: &Client, image: &Image) -> anyhow::Result<bool> {
    let name = |record: &Record| (record.reference.clone(), record.platform.normalised());
    let own = name(image.record());
    Ok(client.images()?.iter().any(|record| record.id() == image.id() && name(record) != own))
}

/// Returns a list of holders for a message.
pub(super) fn list(holders: &[Holder]) -> String {
    let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
    // Escaped, because another user chose the mountpoint, and an image its name.
    holders.join(", ").escape_debug().to_string()
}
