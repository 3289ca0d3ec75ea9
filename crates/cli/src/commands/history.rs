//! `history`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vmroot::go_template::{Field, Struct, Type};
use vmroot::{HistoryStep, Image, LayerSize};

use super::diff::layer_json;
use crate::args::HistoryArguments;
use crate::context::Context;
use crate::docker_format::{
    align_rows, ellipsis, format_rows, human_size, invalid_template, one_cell, parse_time, short_id, since,
};
use crate::exit::Advised;
use crate::{human, output};

/// The number of characters of a command that are printed without `--no-trunc`.
const MAX_COMMAND: usize = 45;

/// The id of a step whose image is not known.
const MISSING: &str = "<missing>";

/// The headers of the fields in tables.
const HEADERS: [(&str, &str); 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Prints the steps of building an image, the last step first.
pub(crate) fn history(context: &Context, name: &str, arguments: &HistoryArguments) -> anyhow::Result<()> {
    if context.json() && arguments.format.is_some() {
        let hint = "--format json prints one object a line, --json an array";
        return Err(Advised::usage("--json does not go with --format", hint).into());
    }
    let client = context.client()?;
    let (image, mut steps) = context.read_image(&client, name, |image| client.history(image))?;
    steps.reverse();
    note_mismatch(name, &image, &steps);
    let rows: Vec<Row> = steps.iter().enumerate().map(|(position, step)| Row::new(&image, position, step)).collect();
    if context.json() {
        return Ok(output::print_json(&rows.iter().map(|row| row.to_value(&image)).collect())?);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    if arguments.ids || context.quiet() && arguments.format.is_none() {
        return rows.iter().try_for_each(|row| Ok(output::print_line(row.id(arguments))?));
    }
    let text = match arguments.format.as_deref().unwrap_or("table") {
        "" | "table" => table(&rows, arguments, now),
        format => {
            let values: Vec<Value> = rows.iter().map(|row| row.fields(arguments, now)).collect();
            format_rows(format, &values, &row_type(), &HEADERS).map_err(invalid_template)?
        }
    };
    Ok(output::print_text(&text)?)
}

/// Prints a note if the numbers of layers and of their entries in the history differ.
fn note_mismatch(name: &str, image: &Image, steps: &[(HistoryStep, Option<LayerSize>)]) {
    let layers = image.record().layers.len();
    let entries = image.config().history();
    if entries.is_empty() && layers > 0 {
        let layers = human::count(layers as u64, "layer");
        return output::print_note(&format!("note: {name} has no history, and {layers}"));
    }
    let with_layer = entries.iter().filter(|entry| !entry.empty_layer).count();
    if with_layer != layers || steps.iter().any(|(step, _)| step.lacks_layer()) {
        let entries = if with_layer == 1 { "1 entry".to_owned() } else { format!("{with_layer} entries") };
        let layers = human::count(layers as u64, "layer");
        output::print_note(&format!("note: the history of {name} has {entries} for {layers}"));
    }
}

/// A step and its bytes.
struct Row<'a> {
    id: String,
    step: &'a HistoryStep,
    size: Option<LayerSize>,
}

impl<'a> Row<'a> {
    /// Returns the row of a step. `position` counts from the last step.
    fn new(image: &Image, position: usize, (step, size): &'a (HistoryStep, Option<LayerSize>)) -> Self {
        let id = if position == 0 { image.id().to_string() } else { MISSING.to_owned() };
        Self { id, step, size: *size }
    }

    fn id(&self, arguments: &HistoryArguments) -> &str {
        if arguments.no_trunc { &self.id } else { short_id(&self.id) }
    }

    fn text(&self, read: fn(&vmroot::model::History) -> &Option<String>) -> &str {
        self.step.entry.as_ref().and_then(|entry| read(entry).as_deref()).unwrap_or_default()
    }

    fn created(&self) -> vmroot::go_template::Time {
        parse_time(Some(self.text(|entry| &entry.created)))
    }

    fn created_by(&self, arguments: &HistoryArguments) -> String {
        let command = self.text(|entry| &entry.created_by).replace('\t', " ");
        if arguments.no_trunc { command } else { ellipsis(&command, MAX_COMMAND) }
    }

    fn created_since(&self, arguments: &HistoryArguments, now: i64) -> String {
        if arguments.human { since(self.created(), now) } else { self.created().to_rfc3339() }
    }

    fn bytes(&self, arguments: &HistoryArguments, read: fn(LayerSize) -> u64) -> String {
        let bytes = self.size.map_or(0, read);
        if arguments.human { human_size(bytes) } else { bytes.to_string() }
    }

    /// Returns the fields of docker's templates.
    fn fields(&self, arguments: &HistoryArguments, now: i64) -> Value {
        json!({
            "ID": self.id(arguments),
            "CreatedAt": self.created().to_rfc3339(),
            "CreatedSince": self.created_since(arguments, now),
            "CreatedBy": self.created_by(arguments),
            "Size": self.bytes(arguments, |size| size.files),
            "Comment": self.text(|entry| &entry.comment),
        })
    }

    fn to_value(&self, image: &Image) -> Value {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let layer = self.step.layer.map(|layer| layer_json(layer, &image.record().layers));
        json!({
            "id": (self.id != MISSING).then_some(&self.id),
            "created": text(self.text(|entry| &entry.created)),
            "createdBy": text(self.text(|entry| &entry.created_by)),
            "author": text(self.text(|entry| &entry.author)),
            "comment": text(self.text(|entry| &entry.comment)),
            "emptyLayer": self.step.entry.as_ref().is_some_and(|entry| entry.empty_layer),
            "layer": layer,
            "size": self.size.map_or(0, |size| size.files),
            "visible": self.size.map_or(0, |size| size.visible),
        })
    }
}

/// Formats the rows as docker's table, with a further column for the bytes that the image's root shows.
fn table(rows: &[Row<'_>], arguments: &HistoryArguments, now: i64) -> Vec<u8> {
    let header = ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT", "VISIBLE"].map(str::to_owned).to_vec();
    let row = |row: &Row<'_>| {
        vec![
            row.id(arguments).to_owned(),
            row.created_since(arguments, now),
            one_cell(&row.created_by(arguments)),
            row.bytes(arguments, |size| size.files),
            one_cell(row.text(|entry| &entry.comment)),
            row.bytes(arguments, |size| size.visible),
        ]
    };
    align_rows(&[header].into_iter().chain(rows.iter().map(row)).collect::<Vec<_>>())
}

fn row_type() -> Type {
    // In the order in which docker writes them as JSON.
    let names = ["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"];
    let fields = names.into_iter().map(|name| Field::new(name, Type::String)).collect();
    Type::Struct(Struct { name: "*history.historyContext", fields })
}
