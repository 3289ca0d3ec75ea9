//! `images`, `inspect` and `config`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vmroot::{Description, ImageName, Platform, Record, RuntimeConfig};

use crate::context::Context;
use crate::output;

/// Lists the images in the cache, or those for the requested platform.
pub(crate) fn images(context: &Context) -> anyhow::Result<()> {
    let mut images = context.client()?.images()?;
    if let Some(wanted) = context.requested_platform() {
        images.retain(|record| matches_platform(wanted, &record.platform));
    }
    if context.json() {
        output::print_json(&images.iter().map(summary_json).collect())?;
        return Ok(());
    }
    let row = |record: &Record| {
        vec![
            display_name(record),
            record.platform.to_string(),
            record.id().hex()[..12].to_owned(),
            output::format_bytes(record.layers.iter().map(|layer| layer.size).sum()),
            format_age(record.pulled),
        ]
    };
    Ok(output::print_table(
        &["REFERENCE", "PLATFORM", "ID", "SIZE", "PULLED"],
        &images.iter().map(row).collect::<Vec<_>>(),
    )?)
}

/// Returns whether an image is for the requested platform. A platform without a variant matches all variants.
fn matches_platform(wanted: &Platform, platform: &Platform) -> bool {
    let (wanted, platform) = (wanted.normalised(), platform.normalised());
    let same_system = wanted.os == platform.os && wanted.architecture == platform.architecture;
    same_system && (wanted.variant.is_none() || wanted.variant == platform.variant)
}

fn display_name(record: &Record) -> String {
    record.reference.as_ref().map_or_else(|| "<none>".to_owned(), vmroot::Reference::familiar)
}

fn summary_json(record: &Record) -> Value {
    json!({
        "id": record.id(),
        "reference": record.reference.as_ref().map(ToString::to_string),
        "digest": record.digest,
        "platform": record.platform.to_string(),
        "size": record.layers.iter().map(|layer| layer.size).sum::<u64>(),
        "pulled": record.pulled,
    })
}

fn format_age(pulled: u64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(pulled)).unwrap_or_default();
    format!("{} ago", indicatif::HumanDuration(since))
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
        ("platform", description.platform.to_string()),
        ("created", description.config.created().unwrap_or_default().to_owned()),
        ("size", format!("{} in {} layers", output::format_bytes(total), layers.len())),
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

/// Prints how to run an image, in the form of `config.json`.
pub(crate) fn config(context: &Context, name: &str, raw: bool) -> anyhow::Result<()> {
    let client = context.client()?;
    let is_cached = || match client.find(name, context.requested_platform()) {
        Err(error) => error.kind() != vmroot::ErrorKind::NotFound,
        Ok(_) => true,
    };
    if !ImageName::is_archive(name) && context.may_ask_registry(name) && (context.always_pulls() || !is_cached()) {
        return remote_config(context, &client, name, raw);
    }
    let image = context.image(&client, name)?;
    if raw {
        return Ok(output::print_text(image.config().raw())?);
    }
    let config = RuntimeConfig::new(image.config(), &client.root(&image)?)?;
    Ok(output::print_json_text(config.to_json().trim_end())?)
}

/// Prints how to run an image in a registry, without its layers. So the names of users cannot be resolved.
fn remote_config(context: &Context, client: &vmroot::Client, name: &str, raw: bool) -> anyhow::Result<()> {
    let description = client.describe_remote(name, context.requested_platform())?;
    context.note_platform(name, &description.platform);
    if raw {
        return Ok(output::print_text(description.config.raw())?);
    }
    let config = RuntimeConfig::unresolved(&description.config);
    Ok(output::print_json_text(config.to_json().trim_end())?)
}
