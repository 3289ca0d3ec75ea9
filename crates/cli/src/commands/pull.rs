//! `pull`.

use serde_json::json;
use vmroot::Image;

use crate::args::Pull;
use crate::context::Context;
use crate::output;
use crate::short_names::ChosenName;

/// Pulls images and prints their ids.
pub(crate) fn pull(context: &Context, references: &[String]) -> anyhow::Result<()> {
    let client = context.client()?;
    for reference in references {
        let chosen = ChosenName::ask(&client, reference, &context.cancel())?;
        let pulling = client.with_progress(context.progress());
        let image = pulling.pull_with(&chosen.name, &context.pull_options(Pull::Always))?;
        chosen.record(&client);
        context.note_platform(reference, &image.record().platform);
        print_image(context, &image)?;
    }
    Ok(())
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
