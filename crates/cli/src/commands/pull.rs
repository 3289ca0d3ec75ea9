//! `pull`.

use serde_json::{Value, json};
use vmroot::{Client, Image, Platform};

use crate::args::Pull;
use crate::context::Context;
use crate::output;
use crate::short_names::ChosenName;

/// Pulls images, each for all of the platforms, and prints their ids.
pub(crate) fn pull(context: &Context, references: &[String], platforms: &[Platform]) -> anyhow::Result<()> {
    let contexts: Vec<Context> = match platforms {
        [] => vec![context.with_purpose("vmroot pull")],
        platforms => platforms.iter().map(|platform| context.with_platform(platform.clone())).collect(),
    };
    let clients = contexts.iter().map(Context::client).collect::<anyhow::Result<Vec<_>>>()?;
    let each = || contexts.iter().zip(&clients);
    let wanted: Vec<_> = references
        .iter()
        .flat_map(|reference| each().map(move |(context, client)| (context, client, reference)))
        .collect();
    let mut pulled = Vec::new();
    let result = wanted.iter().try_for_each(|(context, client, reference)| {
        let image = pull_one(context, client, reference)?;
        match context.json() {
            true => pulled.push(image_json(&image)),
            false => output::print_line(image.id().to_string())?,
        }
        Ok(())
    });
    // After an error, the images before it are here too.
    if context.json() && (result.is_ok() || !pulled.is_empty()) {
        output::print_one_or_list(pulled, wanted.len())?;
    }
    result
}

fn pull_one(context: &Context, client: &Client, reference: &str) -> anyhow::Result<Image> {
    let chosen = ChosenName::ask(client, reference, &context.cancel())?;
    let pulling = client.with_progress(context.progress());
    let image = pulling.pull_with(&chosen.name, &context.pull_options(Pull::Always))?;
    chosen.record(client);
    context.note_platform(reference, &image.record().platform);
    Ok(image)
}

/// Prints the id of a new image.
pub(super) fn print_image(context: &Context, image: &Image) -> anyhow::Result<()> {
    if context.json() {
        output::print_json(&image_json(image))?;
    } else {
        output::print_line(image.id().to_string())?;
    }
    Ok(())
}

fn image_json(image: &Image) -> Value {
    let record = image.record();
    json!({
        "id": image.id(),
        "reference": record.reference.as_ref().map(ToString::to_string),
        "digest": record.digest,
        "platform": record.platform.to_string(),
    })
}
