//! `pull` and `load`.

use std::path::Path;

use serde_json::json;
use vmroot::{ArchiveImage, Image, ImageName, ImageSelector, Reference};

use crate::args::Pull;
use crate::context::Context;
use crate::exit::UsageError;
use crate::output;
use crate::short_names::ChosenName;

/// Pulls images and prints their ids.
pub(crate) fn pull(context: &Context, references: &[String]) -> anyhow::Result<()> {
    let client = context.client()?;
    for reference in references {
        let chosen = ChosenName::ask(&client, reference)?;
        let pulling = client.with_progress(context.progress());
        let image = pulling.pull_with(&chosen.name, &context.pull_options(Pull::Always))?;
        chosen.record(&client);
        context.note_platform(reference, &image.record().platform);
        print_image(context, &image)?;
    }
    Ok(())
}

/// Loads images from a file, prints their names, and then their ids.
pub(crate) fn load(context: &Context, file: &Path, picked: Option<&str>) -> anyhow::Result<()> {
    let client = context.client()?;
    let stdin = Path::new("/dev/stdin");
    let (path, name) = if file == Path::new("-") { (stdin, Path::new("standard input")) } else { (file, file) };
    let archive = client.archive(path)?;
    let images: Vec<ArchiveImage> = match picked {
        None => archive.images().to_vec(),
        Some(text) => vec![archive.select(&parse_pick(text)?).map_err(vmroot::Error::from)?],
    };
    if images.is_empty() {
        output::print_note(&format!("{}: contains no images", name.display()));
    }
    let mut loaded = Vec::new();
    for image in &images {
        let result =
            client.with_progress(context.progress()).load(&archive, image, &context.pull_options(Pull::Always))?;
        context.note_platform(&image.to_string(), &result.record().platform);
        if !context.json() {
            for reference in &image.references {
                output::print_note(&format!("loaded {}", reference.familiar()));
            }
        }
        loaded.push(result);
    }
    loaded.iter().try_for_each(|image| print_image(context, image))
}

/// Parses `@N` or a name.
fn parse_pick(text: &str) -> anyhow::Result<ImageSelector> {
    if let Some(index) = text.strip_prefix('@') {
        let index = index
            .parse()
            .map_err(|_| UsageError(format!("--image {text}: expected a reference, or @ and a number")))?;
        return Ok(ImageSelector::Index(index));
    }
    if let Err(error) = Reference::parse(text)
        && ImageName::parse(&format!("oci:layout:{text}")).is_err()
    {
        return Err(UsageError(format!("--image: {error}")).into());
    }
    Ok(ImageSelector::Name(text.to_owned()))
}

/// Prints the id of a new image.
pub(super) fn print_image(context: &Context, image: &Image) -> anyhow::Result<()> {
    if context.json() {
        let reference = image.record().reference.as_ref().map(ToString::to_string);
        output::print_json(&json!({"id": image.id(), "reference": reference, "digest": image.record().digest}))?;
    } else {
        output::print_line(image.id().to_string())?;
    }
    Ok(())
}
