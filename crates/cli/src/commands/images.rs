//! `images`, `inspect`, `config` and `untag`.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use vmroot::go_template::{Error as TemplateError, Field, Struct, Time, Type};
use vmroot::{Description, ImageFilter, ImageName, Record, Reference, RuntimeConfig};

use crate::args::ImagesArguments;
use crate::context::Context;
use crate::docker_format::{ago, format_rows, human_size, invalid_template, parse_time, short_id};
use crate::exit::Advised;
use crate::{human, output, times};

/// The text of a field without a value.
const NONE: &str = "<none>";
/// The text of a field whose value is not known. Docker prints the same in lists.
const UNKNOWN: &str = "N/A";

/// The headers of the fields in tables.
const HEADERS: [(&str, &str); 12] = [
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("Platform", "PLATFORM"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

/// Lists the images in the cache that meet all conditions.
pub(crate) fn images(context: &Context, arguments: &ImagesArguments) -> anyhow::Result<()> {
    if context.json() && arguments.format.is_some() {
        let hint = "--format json prints one object a line, --json an array";
        return Err(Advised::usage("--json does not go with --format", hint).into());
    }
    let filter = filter(context, arguments)?;
    // The process ends after this command, and freeing the records of a large cache takes long.
    let mut images = ManuallyDrop::new(context.client()?.list_images(&filter)?);
    context.note_missing_cache();
    if context.json() {
        return Ok(output::print_json(&images.iter().map(|record| summary_json(record)).collect())?);
    }
    if arguments.format.is_none() && !context.quiet() {
        return print_table(&images, arguments);
    }
    images.sort_by_cached_key(|record| Reverse(parse_time(record.created.as_deref()).unix()));
    match arguments.format.as_deref() {
        None | Some("" | "table") if context.quiet() => print_ids(&images, arguments),
        format => print_formatted(&images, arguments, format.unwrap_or_default()),
    }
}

fn filter(context: &Context, arguments: &ImagesArguments) -> vmroot::Result<ImageFilter> {
    let mut filter = ImageFilter::new();
    if arguments.all {
        filter = filter.all();
    }
    if let Some(platform) = context.requested_platform() {
        filter = filter.platform(platform.clone());
    }
    for name in &arguments.names {
        filter = filter.reference(name)?;
    }
    for condition in &arguments.filter {
        filter = filter.condition(condition)?;
    }
    Ok(filter)
}

fn print_table(images: &[Arc<Record>], arguments: &ImagesArguments) -> anyhow::Result<()> {
    let has_shared = images.iter().any(|record| record.shared_cache.is_some());
    let mut header = vec!["REFERENCE", "PLATFORM", "ID", "SIZE", "PULLED"];
    if has_shared {
        header.push("SHARED CACHE");
    }
    if arguments.digests {
        header.insert(1, "DIGEST");
    }
    let row = |record: &Arc<Record>| {
        let mut row = vec![
            record.reference.as_ref().map_or_else(|| NONE.to_owned(), Reference::familiar),
            record.platform.to_string(),
            printed_id(record, arguments),
            output::format_bytes(size(record)),
            format_age(record.pulled),
        ];
        if has_shared {
            row.push(record.shared_cache.as_ref().map_or_else(String::new, |it| it.display().to_string()));
        }
        if arguments.digests {
            row.insert(1, record.digest.to_string());
        }
        row
    };
    Ok(output::print_table(&header, &images.iter().map(row).collect::<Vec<_>>())?)
}

/// Prints each id once, one a line.
fn print_ids(images: &[Arc<Record>], arguments: &ImagesArguments) -> anyhow::Result<()> {
    let mut printed = HashSet::new();
    let mut lines = output::Lines::new();
    for record in images.iter().filter(|record| printed.insert(*record.id())) {
        lines.print(printed_id(record, arguments))?;
    }
    Ok(lines.finish()?)
}

/// Prints with a format of `docker images`.
fn print_formatted(images: &[Arc<Record>], arguments: &ImagesArguments, format: &str) -> anyhow::Result<()> {
    let digest = if arguments.digests { "\t{{.Digest}}" } else { "" };
    let format = match format {
        "" | "table" => format!(
            "table {{{{.Repository}}}}\t{{{{.Tag}}}}{digest}\t{{{{.ID}}}}\t\
             {{{{if .CreatedSince}}}}{{{{.CreatedSince}}}}{{{{else}}}}N/A{{{{end}}}}\t{{{{.Size}}}}"
        ),
        "raw" => format!(
            "repository: {{{{.Repository}}}}\ntag: {{{{.Tag}}}}\n{}image_id: {{{{.ID}}}}\n\
             created_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n",
            if arguments.digests { "digest: {{.Digest}}\n" } else { "" }
        ),
        table if table.starts_with("table") && !table.contains("{{.Digest}}") => format!("{table}{digest}"),
        other => other.to_owned(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    if images.is_empty() {
        check_fields(&format)?;
    }
    let rows: Vec<Value> = images.iter().map(|record| fields(record, arguments, now)).collect();
    Ok(output::print_text(&format_rows(&format, &rows, &row_type(), &HEADERS).map_err(invalid_template)?)?)
}

/// Fails for a field that rows do not have, where there is no row.
fn check_fields(format: &str) -> anyhow::Result<()> {
    let row: Value = HEADERS.iter().map(|(name, _)| ((*name).to_owned(), json!(""))).collect::<Map<_, _>>().into();
    match format_rows(format, &[row], &row_type(), &HEADERS) {
        Err(error @ TemplateError::UnknownField { .. }) => Err(invalid_template(error).into()),
        _ => Ok(()),
    }
}

/// Returns the fields of docker's templates.
fn fields(record: &Record, arguments: &ImagesArguments, now: i64) -> Value {
    let reference = record.reference.as_ref();
    let created = parse_time(record.created.as_deref());
    // Without a tag and a digest, the name is that of the repository.
    let repository = reference.map(|reference| {
        let familiar = reference.familiar();
        let name = familiar.split_once('@').map_or(&*familiar, |(name, _)| name);
        let tag = reference.tag().map_or(0, |tag| tag.len() + 1);
        name[..name.len() - tag].to_owned()
    });
    let tag = reference.filter(|reference| reference.digest().is_none()).and_then(Reference::tag_or_default);
    let size = human_size(size(record));
    json!({
        "ID": printed_id(record, arguments),
        "Repository": repository.as_deref().unwrap_or(NONE),
        "Tag": tag.unwrap_or(NONE),
        "Digest": reference.map_or_else(|| NONE.to_owned(), |_| record.digest.to_string()),
        "Platform": record.platform.to_string(),
        "CreatedSince": if record.created.is_some() { ago(created, now) } else { String::new() },
        "CreatedAt": created.to_string(),
        "Size": &size,
        "VirtualSize": &size,
        "Containers": UNKNOWN,
        "SharedSize": UNKNOWN,
        "UniqueSize": UNKNOWN,
    })
}

fn row_type() -> Type {
    // In the order in which docker writes them as JSON.
    let mut names: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let fields = names.into_iter().map(|name| Field::new(name, Type::String)).collect();
    Type::Struct(Struct { name: "*formatter.imageContext", fields })
}

fn printed_id(record: &Record, arguments: &ImagesArguments) -> String {
    let id = record.id().to_string();
    if arguments.no_trunc { id } else { short_id(&id).to_owned() }
}

/// Returns the bytes of the layers as they are stored.
fn size(record: &Record) -> u64 {
    record.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add)
}

fn summary_json(record: &Record) -> Value {
    json!({
        "id": record.id(),
        "reference": record.reference.as_ref().map(ToString::to_string),
        "digest": record.digest,
        "platform": record.platform.to_string(),
        "size": size(record),
        "pulled": times::rfc3339_of_seconds(record.pulled),
        "created": record.created,
        "sharedCache": record.shared_cache.as_ref().map(|directory| directory.display().to_string()),
    })
}

fn format_age(pulled: u64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(pulled)).unwrap_or_default();
    format!("{} ago", crate::human::format_age(since))
}

/// Prints the description of an image.
pub(crate) fn inspect(context: &Context, name: &str, remote: bool) -> anyhow::Result<()> {
    let client = context.client()?;
    // An archive is read itself, not the image that was loaded from it, unless --pull never forbids that.
    let remote = remote || ImageName::is_archive(name) && context.may_ask_registry(name);
    let found = if remote { None } else { Some(client.find(name, context.requested_platform())) };
    let describe_remote = |find_error| {
        client.describe_remote(name, context.requested_platform()).map_err(|error| error.after_find(find_error))
    };
    let description = match found {
        Some(Ok(image)) => {
            context.note_platform(name, &image.record().platform);
            Description::of(&image)
        }
        Some(Err(error)) if error.kind() != vmroot::ErrorKind::NotFound || !context.may_ask_registry(name) => {
            return Err(error.into());
        }
        found => {
            let description = describe_remote(found.and_then(Result::err))?;
            context.note_platform(name, &description.platform);
            description
        }
    };
    if context.json() {
        Ok(output::print_json(&description_json(&description))?)
    } else {
        print_description(&description)
    }
}

fn description_json(description: &Description) -> Value {
    let config: Value = serde_json::from_slice(description.config.raw()).unwrap_or_default();
    json!({
        "id": description.id,
        "reference": description.reference.as_ref().map(ToString::to_string),
        "digest": description.digest,
        "manifest": description.manifest,
        "platform": description.platform.to_string(),
        "layers": description.layers,
        "config": config,
    })
}

fn print_description(description: &Description) -> anyhow::Result<()> {
    let container = description.config.config();
    let layers = &description.layers;
    let total = layers.iter().map(|layer| layer.size).sum();
    let mut lines = vec![
        ("id", description.id.to_string()),
        ("reference", description.reference.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("digest", description.digest.to_string()),
        // Of an image in a list, the digest is that of the list.
        (
            "manifest",
            if description.manifest == description.digest { String::new() } else { description.manifest.to_string() },
        ),
        ("platform", description.platform.to_string()),
        ("created", description.config.created().map(readable_time).unwrap_or_default()),
        ("size", format!("{} in {}", output::format_bytes(total), human::count(layers.len() as u64, "layer"))),
        ("entrypoint", container.entrypoint.join(" ")),
        ("cmd", container.cmd.join(" ")),
        ("working dir", container.working_dir.clone()),
        ("user", container.user.clone()),
    ];
    lines.extend(container.env.iter().map(|variable| ("env", variable.clone())));
    lines.extend(container.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    let layer = |layer: &vmroot::LayerRecord| {
        format!("{} {} {}", layer.digest, output::format_bytes(layer.size), layer.media_type)
    };
    lines.extend(layers.iter().map(|record| ("layer", layer(record))));
    for (key, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        output::print_line(format!("{key:12} {value}"))?;
    }
    Ok(())
}

/// Returns a time of a config for people, or its text if it is none.
fn readable_time(text: &str) -> String {
    Time::parse(text).map_or_else(|| text.to_owned(), |time| format!("{} UTC", times::readable(time.unix())))
}

/// Prints how to run an image, in the form of `config.json`.
pub(crate) fn config(context: &Context, name: &str, raw: bool) -> anyhow::Result<()> {
    if name.starts_with("prebaked:") {
        if raw {
            return Err(Advised::usage(
                format!("{name}: --raw needs an image"),
                "a prebaked directory lacks its config",
            )
            .into());
        }
        return Ok(output::print_json_text(context.open(name)?.config()?.to_json().trim_end())?);
    }
    let client = context.client()?;
    if !ImageName::is_archive(name) && context.may_ask_registry(name) {
        let find_error = match context.always_pulls() {
            true => None,
            false => client.find(name, context.requested_platform()).err(),
        };
        let is_missing = find_error.as_ref().is_some_and(|error| error.kind() == vmroot::ErrorKind::NotFound);
        if context.always_pulls() || is_missing {
            return remote_config(context, &client, name, raw, find_error);
        }
    }
    let image = context.image(&client, name)?;
    if raw {
        return Ok(output::print_text(image.config().raw())?);
    }
    let config = RuntimeConfig::new(image.config(), &client.root(&image)?)?;
    Ok(output::print_json_text(config.to_json().trim_end())?)
}

/// Prints how to run an image in a registry, without its layers. So the names of users cannot be resolved.
/// `find_error` is the error for the image that the cache does not have.
fn remote_config(
    context: &Context,
    client: &vmroot::Client,
    name: &str,
    raw: bool,
    find_error: Option<vmroot::Error>,
) -> anyhow::Result<()> {
    let described = client.describe_remote(name, context.requested_platform());
    let description = described.map_err(|error| error.after_find(find_error))?;
    context.note_platform(name, &description.platform);
    if raw {
        return Ok(output::print_text(description.config.raw())?);
    }
    let config = RuntimeConfig::unresolved(&description.config);
    Ok(output::print_json_text(config.to_json().trim_end())?)
}

/// Returns a name of the cache without `docker://` or `vmroot:`, with which other commands accept it.
fn untagged_name(name: &str) -> anyhow::Result<&str> {
    match name.strip_prefix("docker://").or_else(|| name.strip_prefix("vmroot:")) {
        Some(name) => Ok(name),
        None if ImageName::has_transport(name) => Err(Advised::usage(
            format!("{name}: untag takes names of images in the cache"),
            "`vmroot images` prints them",
        )
        .into()),
        None => Ok(name),
    }
}

/// Prints each name that was taken once. A note has the platforms if there are several.
fn print_untagged(records: &[Record]) -> anyhow::Result<()> {
    let mut names: Vec<String> =
        records.iter().filter_map(|record| record.reference.as_ref()).map(ToString::to_string).collect();
    names.dedup();
    names.iter().try_for_each(output::print_line)?;
    if records.len() > names.len() {
        let platforms: Vec<_> = records.iter().map(|record| record.platform.to_string()).collect();
        output::print_note(&format!("the images are for {}", platforms.join(", ")));
    }
    Ok(())
}

/// Returns the name of an image from which untag takes it. An id is none.
fn name_to_untag(name: &str) -> anyhow::Result<&str> {
    match Reference::parse(untagged_name(name)?) {
        // Written with its algorithm, an id looks like a name with a tag.
        Ok(_) if !name.starts_with("sha256:") => untagged_name(name),
        Err(error) if !vmroot::is_id(name) => Err(anyhow::Error::from(vmroot::Error::from(error))),
        _ => {
            let message = format!("{name} is an id, and untag takes names");
            Err(Advised::usage(message, format!("`vmroot rm {name}` removes the image with all its names")).into())
        }
    }
}

/// Takes names from images, and keeps the images.
pub(crate) fn untag(context: &Context, names: &[String]) -> anyhow::Result<()> {
    let names = names.iter().map(|name| name_to_untag(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let client = context.client_of_cache()?;
    let whole = |name: &&str| Ok(Reference::parse(&client.name_in_cache(name)?).map_err(vmroot::Error::from)?);
    let references = names.iter().map(whole).collect::<anyhow::Result<Vec<_>>>()?;
    let mut removed = Vec::new();
    for reference in &references {
        let untagged = client.untag(reference, context.requested_platform())?;
        for id in &untagged.dangling {
            let hex = id.hex();
            let short = &hex[..12];
            output::print_note(&format!(
                "{short} has no name now: `vmroot rm {short}` or `vmroot gc --dangling` removes it"
            ));
        }
        if !context.json() {
            print_untagged(&untagged.records)?;
            continue;
        }
        for record in untagged.records {
            removed.push(json!({
                "reference": record.reference.as_ref().map(ToString::to_string),
                "platform": record.platform.to_string(),
                "id": record.id(),
                "dangling": untagged.dangling.contains(record.id()),
            }));
        }
    }
    if context.json() { Ok(output::print_json(&removed.into())?) } else { Ok(()) }
}
