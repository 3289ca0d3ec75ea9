//! The `--format` options of skopeo, docker and podman: conventions around Go's templates.

mod columns;

use serde_json::Value as Json;

use crate::{Result, Template, Type};
pub use columns::align_columns;

/// The smallest width of a column of podman's tables, with its padding.
const MIN_WIDTH: usize = 12;
/// The number of spaces after the widest cell of a column of podman's tables.
const PADDING: usize = 2;

/// Returns whether a format asks for JSON: `json`, `{{json}}` or `{{json.}}`. `{{json .}}` is a template.
pub fn is_json(format: &str) -> bool {
    let format = format.trim_matches(|next: char| next.is_ascii_whitespace());
    let inner = format.strip_prefix("{{").and_then(|format| format.strip_suffix("}}"));
    let inner = inner.map(|inner| inner.trim_matches(|next: char| next.is_ascii_whitespace()));
    format == "json" || matches!(inner, Some("json" | "json."))
}

/// A format for a list of values: a template that is executed for each of them.
///
/// - `\n` and `\t` in the format are a newline and a tab, and a newline is added at its end.
/// - A format with `{{range .}}…{{end}}` is executed once, on the list.
/// - After the prefix `table `, each space is the end of a column, and the columns are aligned.
///
/// ```
/// use serde_json::json;
/// use vmroot_go_template::{Report, Type};
///
/// let report = Report::parse("list", r"{{.name}}\t{{len .tags}}").unwrap();
/// let output = report.execute(&json!([{"name": "alpine", "tags": ["3.20"]}]), &Type::Any).unwrap();
/// assert_eq!(output, b"alpine\t1\n");
/// ```
#[derive(Debug, Clone)]
pub struct Report {
    template: Template,
    is_table: bool,
}

impl Report {
    /// Parses a format. `name` is the name of the template in messages.
    ///
    /// # Errors
    /// - [`Error::Parse`](crate::Error::Parse): the template is malformed.
    /// - [`Error::Limit`](crate::Error::Limit): the template is too long or nested too deeply.
    pub fn parse(name: &str, format: &str) -> Result<Self> {
        let table = format.strip_prefix("table ");
        let (normalised, original) = match table {
            Some(row) => {
                let columns = row.replace("\\t", "\t").replace(' ', "\t").replace("\\n", "\n");
                (in_range(&with_newline(columns)), in_range(row))
            }
            None => {
                let text = with_newline(format.replace("\\t", "\t").replace("\\n", "\n"));
                (enforce_range(text), enforce_range(format.to_owned()))
            }
        };
        // A newline within a string of the template is malformed. Then the format keeps its escapes.
        let template = Template::parse(name, &normalised).or_else(|_| Template::parse(name, &original))?;
        Ok(Self { template, is_table: table.is_some() })
    }

    /// Executes the template on a list of values of a type.
    ///
    /// # Errors
    /// - [`Error::Execute`](crate::Error::Execute): the template does not fit the values.
    /// - [`Error::Limit`](crate::Error::Limit): the output or the work exceeds a limit.
    pub fn execute(&self, values: &Json, of: &Type) -> Result<Vec<u8>> {
        // The type of the list is `[]interface {}`, as that of the tools.
        let list = Type::Slice(Box::new(of.clone()));
        let output = self.template.execute_dynamic(values, &list)?;
        Ok(if self.is_table { align_columns(&output, MIN_WIDTH, PADDING) } else { output })
    }
}

fn with_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn in_range(text: &str) -> String {
    format!("{{{{range .}}}}{text}{{{{end -}}}}")
}

/// Puts a range around a template that has none over the dot.
fn enforce_range(text: String) -> String {
    if has_range(&text) { text } else { in_range(&text) }
}

/// Returns whether a text has `{{range .}}` and a later `{{end}}` or `{{end -}}`.
fn has_range(text: &str) -> bool {
    let after = |text: &str, words: &[&str]| -> Option<usize> {
        text.match_indices("{{").find_map(|(at, _)| {
            let mut rest = &text[at + 2..];
            for word in words {
                rest = rest.trim_start_matches(|next: char| next.is_ascii_whitespace());
                rest = match rest.strip_prefix(word) {
                    Some(rest) => rest,
                    None if *word == "-" => rest,
                    None => return None,
                };
            }
            Some(text.len() - rest.len())
        })
    };
    after(text, &["range", ".", "}}"]).is_some_and(|end| after(&text[end..], &["end", "-", "}}"]).is_some())
}
