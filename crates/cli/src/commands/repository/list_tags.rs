//! `tags`, one a line, and `list-tags`, as skopeo prints them.

use serde_json::{Value, json};
use vmroot::go_template::{Field, JsonStyle, Struct, Type, to_json};
use vmroot::transport::Format;
use vmroot::{Archive, ImageName};

use super::parse_repository;
use crate::context::Context;
use crate::exit::UsageError;
use crate::output::{self, Lines};

/// Prints the tags of a repository, one a line.
pub(crate) fn tags(context: &Context, repository: &str) -> anyhow::Result<()> {
    let tags = context.client()?.list_tags(&parse_repository(repository)?)?;
    if context.json() {
        return Ok(output::print_json(&json!(tags))?);
    }
    let mut lines = Lines::new();
    tags.iter().try_for_each(|tag| lines.print(tag))?;
    Ok(lines.finish()?)
}

/// Prints the tags of a repository or of a `docker save` archive as skopeo's JSON.
pub(crate) fn list_tags(context: &Context, name: &str) -> anyhow::Result<()> {
    let value = match name.starts_with("docker-archive:") {
        true => json!({"Tags": archive_tags(context, name)?}),
        false => {
            let reference = parse_repository(name)?;
            let tags = context.client()?.list_tags(&reference)?;
            json!({"Repository": reference.name(), "Tags": tags})
        }
    };
    let fields = vec![Field::new("Repository", Type::String).omit_empty(), Field::new("Tags", Type::String.slice())];
    let of = Type::Struct(Struct { name: "main.tagListOutput", fields });
    Ok(output::print_json_text(&to_json(&value, &of, JsonStyle { indent: Some(4), escape_html: true }))?)
}

/// Returns the names in an archive. An image without one has its position, as `@0`.
fn archive_tags(context: &Context, name: &str) -> anyhow::Result<Value> {
    let ImageName::Archive { format: Format::DockerArchive, path, .. } =
        ImageName::parse(name).map_err(vmroot::Error::from)?
    else {
        return Err(UsageError(format!("{name}: expected docker-archive:FILE")).into());
    };
    let archive: Archive = context.client()?.archive(&path)?;
    let mut tags = Vec::new();
    for (index, image) in archive.images().iter().enumerate() {
        match image.references.is_empty() {
            true => tags.push(format!("@{index}")),
            false => tags.extend(image.references.iter().map(vmroot::Reference::to_string)),
        }
    }
    Ok(if tags.is_empty() { Value::Null } else { json!(tags) })
}
