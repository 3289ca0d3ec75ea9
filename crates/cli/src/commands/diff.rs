//! `diff`.

use std::io;

use serde_json::{Value, json};
use vmroot::layer_index::Index;
use vmroot::{Change, ChangeKind, ContainerFs, DiffOptions, Image, LayerRecord, Origin};

use super::files::{attributes_json, bytes_to_text};
use crate::args::DiffArguments;
use crate::context::{Context, OpenedRoot};
use crate::exit::{Advised, AlreadyReported, report_as};
use crate::output;
use crate::remedy::Failed;

/// The exit code for images that differ, with `--exit-code`.
const DIFFERENT: u8 = 1;

/// The exit code for other errors, with `--exit-code`, as that of diff(1).
const TROUBLE: u8 = 2;

/// Prints the paths at which two images differ.
pub(crate) fn diff(context: &Context, old: &str, new: &str, arguments: &DiffArguments) -> anyhow::Result<()> {
    match compare(context, old, new, arguments) {
        Ok(true) if arguments.exit_code => Err(AlreadyReported(DIFFERENT).into()),
        // A script must not take an error for a difference.
        Err(error) if arguments.exit_code => {
            let images = [old.to_owned(), new.to_owned()];
            let failed = Failed { verb: "diff", context: Some(context), images: &images };
            let code = report_as(&error, &failed, |code| if code == DIFFERENT { TROUBLE } else { code });
            Err(AlreadyReported(code).into())
        }
        result => result.map(drop),
    }
}

/// Prints the differences, and returns whether there are any.
fn compare(context: &Context, old: &str, new: &str, arguments: &DiffArguments) -> anyhow::Result<bool> {
    let old = context.open(old)?;
    let (new, layers) = match arguments.layers {
        true => NewImage::with_layers(context, new)?,
        false => (NewImage::Root(Box::new(context.open(new)?)), None),
    };
    let (old, new) = (&old.root, new.root());
    let options = DiffOptions { times: arguments.times, hard_links: arguments.hard_links };
    let mut changes = old.diff(new, &options);
    Ok(match context.json() {
        true => print_json(changes, old, new, layers.as_ref())?,
        // As `git diff --quiet`: the exit code is the result.
        false if context.quiet() && arguments.exit_code => changes.next().is_some(),
        false => print_lines(changes, layers.as_ref())?,
    })
}

/// The root of the new image, with the image, which is in use.
enum NewImage {
    Root(Box<OpenedRoot>),
    OfLayers(Box<(ContainerFs, Image)>),
}

/// The layers of the new image, lowest first.
struct Layers {
    records: Vec<LayerRecord>,
    indexes: Vec<Index>,
}

impl NewImage {
    fn with_layers(context: &Context, name: &str) -> anyhow::Result<(Self, Option<Layers>)> {
        if name.starts_with("prebaked:") {
            let message = format!("{name}: --layers needs an image, and a prebaked directory is none");
            return Err(Advised::usage(message, "without --layers, prebaked directories are compared too").into());
        }
        let client = context.client()?;
        let read = |image: &Image| Ok((client.root(image)?, client.layer_indexes(image)?));
        let (image, (root, indexes)) = context.read_image(&client, name, read)?;
        let layers = Layers { records: image.record().layers.clone(), indexes };
        Ok((Self::OfLayers(Box::new((root, image))), Some(layers)))
    }

    fn root(&self) -> &ContainerFs {
        match self {
            Self::Root(opened) => &opened.root,
            Self::OfLayers(opened) => &opened.0,
        }
    }
}

impl Layers {
    /// Returns the number of the layer that brought a change.
    fn layer_of(&self, change: &Change) -> Option<usize> {
        Origin::of(&self.indexes, &change.path).layer_of_change(&change.kind)
    }
}

/// Prints a line for each change, and returns whether there is any.
fn print_lines(changes: impl Iterator<Item = Change>, layers: Option<&Layers>) -> io::Result<bool> {
    let mut lines = output::Lines::new();
    let mut any = false;
    for change in changes {
        any = true;
        let letter: &[u8] = match change.kind {
            ChangeKind::Added(_) => b"A /",
            ChangeKind::Removed(_) => b"D /",
            ChangeKind::Changed { .. } => b"C /",
        };
        let mut suffix = String::new();
        let fields: Vec<_> = change.kind.fields().iter().map(vmroot::Field::name).collect();
        if !fields.is_empty() {
            suffix = format!(" ({})", fields.join(", "));
        }
        let layer = layers.and_then(|layers| layers.layer_of(&change));
        if let Some((layers, layer)) = layers.zip(layer) {
            // Counted from 1, as `why` does. JSON counts from 0.
            suffix += &format!(" [layer {} of {} {}]", layer + 1, layers.records.len(), layers.records[layer].digest);
        }
        lines.print([letter, &change.path, suffix.as_bytes()].concat())?;
    }
    lines.finish()?;
    Ok(any)
}

/// Prints a JSON array of the changes, and returns whether there is any.
fn print_json(
    changes: impl Iterator<Item = Change>,
    old: &ContainerFs,
    new: &ContainerFs,
    layers: Option<&Layers>,
) -> io::Result<bool> {
    let to_value = |change: Change| {
        let name = match change.kind {
            ChangeKind::Added(_) => "added",
            ChangeKind::Removed(_) => "removed",
            ChangeKind::Changed { .. } => "changed",
        };
        let mut value = json!({
            "path": bytes_to_text(&[b"/", &change.path[..]].concat()),
            "change": name,
            "fields": change.kind.fields().iter().map(vmroot::Field::name).collect::<Vec<_>>(),
            "old": change.kind.old_inode().map(|ino| attributes_json(old, ino)),
            "new": change.kind.new_inode().map(|ino| attributes_json(new, ino)),
        });
        if let Some(layers) = layers {
            value["layer"] = layers.layer_of(&change).map(|layer| layer_json(layer, &layers.records)).into();
        }
        value
    };
    let values: Vec<Value> = changes.map(to_value).collect();
    let any = !values.is_empty();
    output::print_json(&values.into())?;
    Ok(any)
}

/// Returns the number and the digests of a layer as JSON.
pub(super) fn layer_json(layer: usize, records: &[LayerRecord]) -> Value {
    let digests = records.get(layer).map(|record| (record.digest, record.diff_id));
    json!({
        "layer": layer,
        "digest": digests.map(|(digest, _)| digest),
        "diffId": digests.map(|(_, diff_id)| diff_id),
    })
}
