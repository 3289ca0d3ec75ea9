//! Values and tables in the form of docker's command line, for scripts that read them.

use serde_json::{Map, Value, json};
use vmroot::go_template::{Error, JsonStyle, Template, Time, Type, align_columns, to_json};

use crate::exit::Advised;

/// The smallest width of a column of docker's tables, with its padding.
const MIN_WIDTH: usize = 10;
/// The number of spaces after the widest cell of a column of docker's tables.
const PADDING: usize = 3;

/// The number of hex digits of a truncated id.
const SHORT_ID: usize = 12;

/// Docker shows times up to this one, 2000-01-01, as unknown: images without a time often have 1970-01-01.
const FIRST_SHOWN: i64 = 946_684_800;

/// Formats rows with a format of docker: a template, `table` and a template, or `json` for one object a line.
///
/// `of` is the type of a row, with a string for each field. `headers` has the header of each field's column.
pub(crate) fn format_rows(
    format: &str,
    rows: &[Value],
    of: &Type,
    headers: &[(&str, &str)],
) -> vmroot::go_template::Result<Vec<u8>> {
    if format == "json" || is_json_of_row(format) {
        let style = JsonStyle { indent: None, escape_html: true };
        return Ok(rows.iter().map(|row| to_json(row, of, style) + "\n").collect::<String>().into_bytes());
    }
    let (template, is_table) = match format.strip_prefix("table") {
        Some(template) => (template.trim(), true),
        None => (format, false),
    };
    let template = Template::parse("", &template.replace("\\t", "\t").replace("\\n", "\n"))?;
    let mut text = Vec::new();
    if is_table {
        let headers: Map<String, Value> =
            headers.iter().map(|(field, header)| ((*field).to_owned(), json!(header))).collect();
        text.extend(template.execute(&Value::Object(headers), of)?);
        text.push(b'\n');
    }
    rows.iter().try_for_each(|row| {
        text.extend(template.execute(row, of)?);
        text.push(b'\n');
        Ok::<_, Error>(())
    })?;
    Ok(if is_table { align_columns(&text, MIN_WIDTH, PADDING) } else { text })
}

/// Returns the error of usage for a template of `--format`, in the words of this program: without the names of Go's types.
pub(crate) fn invalid_template(error: Error) -> Advised {
    match error {
        Error::Parse { line, message, .. } => {
            let at = if line > 1 { format!(" on line {line}") } else { String::new() };
            let hint = "a template is text with fields in braces, such as '{{.ID}}'; `json` prints all fields";
            Advised::usage(format!("--format: {message}{at}"), hint)
        }
        Error::UnknownField { context, field, known, .. } => {
            let message = match context.strip_suffix(&format!(".{field}")) {
                Some("") => format!("--format: there is no field {field}"),
                Some(outer) => format!("--format: there is no field {field} in {outer}"),
                None => format!("--format: there is no field {field} in {context}"),
            };
            let hint = match known[..] {
                [] => "the value has no fields; `json` prints all fields".to_owned(),
                _ => format!("the fields are {}", known.join(", ")),
            };
            Advised::usage(message, hint)
        }
        Error::Execute { context, message, .. } => Advised::usage(
            format!("--format: {context}: {message}"),
            "`json` in place of the template prints all fields",
        ),
        error => Advised::usage(format!("--format: {error}"), "use a shorter template"),
    }
}

/// Returns whether a template is `{{json .}}`. Docker's rows serialise themselves, and escape `<`, `>` and `&`, which the
/// function `json` does not do for other values.
fn is_json_of_row(template: &str) -> bool {
    let action = template.trim().strip_prefix("{{").and_then(|template| template.strip_suffix("}}"));
    action.is_some_and(|action| action.split_whitespace().eq(["json", "."]))
}

/// Aligns rows of cells as docker's tables.
pub(crate) fn align_rows(rows: &[Vec<String>]) -> Vec<u8> {
    let text: String = rows.iter().map(|cells| cells.join("\t") + "\n").collect();
    align_columns(text.as_bytes(), MIN_WIDTH, PADDING)
}

/// Returns the first digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..SHORT_ID).unwrap_or(digits)
}

/// Shortens a text to a number of characters, the last of which is then an ellipsis.
pub(crate) fn ellipsis(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

/// Replaces characters that would end a cell or a line of a table with spaces.
pub(crate) fn one_cell(text: &str) -> String {
    text.replace(['\t', '\n', '\r', '\u{b}', '\u{c}'], " ")
}

/// Formats a number of bytes with three significant digits and a unit that is a power of 1000.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    format!("{}{}", three_digits(size), UNITS[unit])
}

/// Formats a number below 1000 as Go's `%.3g`.
fn three_digits(number: f64) -> String {
    let decimals = match number {
        // It rounds to 1000, which has four digits.
        _ if number >= 999.5 => return "1e+03".to_owned(),
        _ if number >= 99.95 => 0,
        _ if number >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{number:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// Parses the time of an image or of a step. A missing or malformed one is Go's zero time, in the year 1.
pub(crate) fn parse_time(time: Option<&str>) -> Time {
    time.and_then(Time::parse).map_or_else(Time::default, |time| Time::from_unix(time.unix(), 0))
}

/// Formats the time since then, or `N/A` for a time that no image was made at.
pub(crate) fn since(time: Time, now: i64) -> String {
    if time.unix() <= FIRST_SHOWN {
        return "N/A".to_owned();
    }
    ago(time, now)
}

/// Formats the time since then.
pub(crate) fn ago(time: Time, now: i64) -> String {
    format!("{} ago", human_duration(now.saturating_sub(time.unix())))
}

/// Formats a duration in seconds with its largest unit.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_docker() {
        for (bytes, text) in [
            (0, "0B"),
            (5, "5B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (12_345, "12.3kB"),
            (999_400, "999kB"),
            (999_600, "1e+03kB"),
            (7_335_000, "7.33MB"),
            (187_650_000, "188MB"),
            (1 << 40, "1.1TB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn durations_are_those_of_docker() {
        let (minute, hour, day) = (60, 3600, 86_400);
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (minute, "About a minute"),
            (119, "About a minute"),
            (2 * minute, "2 minutes"),
            (hour, "About an hour"),
            (90 * minute, "2 hours"),
            (47 * hour, "47 hours"),
            (2 * day, "2 days"),
            (14 * day, "2 weeks"),
            (60 * day, "2 months"),
            (730 * day, "2 years"),
            (20_000 * day, "54 years"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
        assert_eq!(since(parse_time(Some("1970-01-01T00:00:00Z")), 2_000_000_000), "N/A");
        assert_eq!(since(parse_time(Some("noon")), 2_000_000_000), "N/A");
        assert_eq!(parse_time(None).to_rfc3339(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn long_texts_are_shortened() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("<missing>"), "<missing>");
        assert_eq!(ellipsis("abcde", 5), "abcde");
        assert_eq!(ellipsis("äbcdef", 5), "äbcd…");
        assert_eq!(one_cell("a\tb\nc"), "a b c");
    }
}
