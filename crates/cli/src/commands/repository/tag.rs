//! `tag` for images of the cache and of registries.

use std::collections::HashSet;

use serde_json::{Value, json};
use vmroot::{Client, ErrorKind, ImageName, Moved, Record, Reference, Tagged};

use super::parse_image;
use crate::args::TagArguments;
use crate::context::Context;
use crate::exit::Advised;
use crate::output;

/// The transport of images in registries.
const REGISTRY: &str = "docker://";
/// The transport of images in the cache.
const CACHE: &str = "vmroot:";

/// Gives an image further names: in the cache if it is there, else in its registry.
pub(crate) fn tag(context: &Context, arguments: &TagArguments) -> anyhow::Result<()> {
    let source = arguments.source.as_str();
    let names_registry =
        source.starts_with(REGISTRY) || arguments.destinations.iter().any(|name| name.starts_with(REGISTRY));
    if arguments.remote || names_registry {
        return tag_remote(context, arguments);
    }
    let client = context.client()?;
    if let Some(source) = source.strip_prefix(CACHE) {
        return tag_here(context, &client, source, arguments);
    }
    match client.find(source, context.requested_platform()) {
        // One that is here for other platforms, or for several, is here.
        Err(error) if error.kind() == ErrorKind::NotFound && !error.is_for_other_platforms() => {
            if vmroot::is_id(source) {
                return Err(error.into());
            }
            tag_remote(context, arguments).map_err(|failed| match failed.downcast::<vmroot::Error>() {
                Ok(failed) => failed.after_find(Some(error)).into(),
                Err(failed) => failed,
            })?;
            output::print_note(&format!("{source} is not in the cache; the tag was set in its registry"));
            Ok(())
        }
        _ => tag_here(context, &client, source, arguments),
    }
}

/// Gives an image of the cache further names. Prints its id, or the ids for its platforms.
fn tag_here(context: &Context, client: &Client, source: &str, arguments: &TagArguments) -> anyhow::Result<()> {
    let names =
        arguments.destinations.iter().map(|name| parse_name(source, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let Tagged { records, moved, .. } = client.tag(source, &names, context.requested_platform())?;
    moved.iter().for_each(|moved| output::print_note(&moved.to_string()));
    if context.json() {
        let tagged: Vec<Value> = records.iter().map(record_json).collect();
        let moved: Vec<Value> = moved.iter().map(moved_json).collect();
        return Ok(output::print_json(&json!({"tagged": tagged, "moved": moved}))?);
    }
    let mut printed = HashSet::new();
    let ids = records.iter().map(|record| *record.id()).filter(|id| printed.insert(*id));
    ids.into_iter().try_for_each(|id| Ok(output::print_line(id.to_string())?))
}

/// Parses a new name of an image in the cache.
fn parse_name(source: &str, text: &str) -> anyhow::Result<Reference> {
    let text = text.strip_prefix(CACHE).unwrap_or(text);
    let name = Reference::parse(text).map_err(vmroot::Error::from)?;
    if !text.contains(['/', ':', '@']) {
        output::print_note(&match repository_of(source) {
            Some(repository) => {
                format!("{text} is a repository: its tag is latest. A tag of {repository} is {repository}:{text}")
            }
            None => format!("{text} is a repository: its tag is latest"),
        });
    }
    Ok(name)
}

/// Returns the repository of a name. An id and the name of a file have none.
fn repository_of(source: &str) -> Option<&str> {
    let is_hex = source.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if is_hex || vmroot::is_id(source) || ImageName::has_transport(source) {
        return None;
    }
    let without_digest = source.split_once('@').map_or(source, |(name, _)| name);
    // The port of a registry is before a slash.
    Some(match without_digest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => without_digest,
    })
}

fn record_json(record: &Record) -> Value {
    json!({
        "reference": record.reference.as_ref().map(ToString::to_string),
        "platform": record.platform.to_string(),
        "id": record.id(),
    })
}

fn moved_json(moved: &Moved) -> Value {
    json!({
        "reference": moved.reference.to_string(),
        "platform": moved.platform.to_string(),
        "from": moved.from,
        "to": moved.to,
        "dangling": moved.dangling,
    })
}

/// Gives an image of a registry further tags. Prints the digest, which stays the same.
fn tag_remote(context: &Context, arguments: &TagArguments) -> anyhow::Result<()> {
    let source = parse_image(&arguments.source)?;
    let parse = |name: &String| match name.starts_with(REGISTRY) {
        true => parse_image(name),
        false => tag_or_name(&source, name),
    };
    let names = arguments.destinations.iter().map(parse).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(by_digest) = names.iter().find(|name| name.digest().is_some()) {
        let message = format!("{by_digest}: a new name has a tag, and no digest");
        return Err(Advised::usage(message, format!("name it {}:TAG", by_digest.name())).into());
    }
    let client = context.client()?;
    let mut printed = HashSet::new();
    let mut tagged = Vec::new();
    for name in &names {
        let digest = client.set_tag(&source, name)?;
        tagged.push(json!({"source": source.to_string(), "reference": name.to_string(), "digest": digest}));
        if !context.json() && printed.insert(digest) {
            output::print_line(digest.to_string())?;
        }
    }
    match (context.json(), tagged.pop()) {
        (true, Some(only)) if tagged.is_empty() => Ok(output::print_json(&only)?),
        (true, Some(last)) => Ok(output::print_json(&tagged.into_iter().chain([last]).collect())?),
        _ => Ok(()),
    }
}

/// Parses a tag of the source's repository, or the name of an image.
fn tag_or_name(source: &Reference, text: &str) -> anyhow::Result<Reference> {
    match text.contains(['/', ':']) {
        true => parse_image(text),
        false => Ok(source.with_tag(text).map_err(vmroot::Error::from)?),
    }
}
