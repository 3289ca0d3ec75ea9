//! `docs/json.md`, and the comparison of JSON with its tables.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const TEXT: &str = include_str!("../../../../../docs/json.md");

/// The section whose verbs print no JSON.
const WITHOUT_JSON: &str = "Verbs without JSON";

/// The page.
pub(super) struct Page {
    sections: BTreeMap<String, Section>,
    /// The verbs without JSON.
    pub(super) without: BTreeSet<String>,
}

/// The section of a verb.
#[derive(Default)]
pub(super) struct Section {
    /// The types of the fields, by their paths.
    fields: BTreeMap<String, String>,
    /// The fields that occurred.
    found: BTreeSet<String>,
}

impl Page {
    pub(super) fn read() -> Self {
        let mut page = Self { sections: BTreeMap::new(), without: BTreeSet::new() };
        let mut title = String::new();
        for line in TEXT.lines() {
            if let Some(name) = line.strip_prefix("## ") {
                title = name.trim_matches('`').to_owned();
            } else if title == WITHOUT_JSON {
                page.without.extend(quoted(line));
            } else if let Some(row) = line.strip_prefix("| `") {
                let cells: Vec<&str> = row.split('|').map(str::trim).collect();
                let path = cells[0].trim_end_matches('`').to_owned();
                let section = page.sections.entry(title.clone()).or_default();
                let before = section.fields.insert(path, cells[1].to_owned());
                assert!(before.is_none(), "{title}: a field has two rows: {line}");
            }
        }
        page
    }

    /// Returns the titles of the sections with a table.
    pub(super) fn titles(&self) -> BTreeSet<String> {
        self.sections.keys().cloned().collect()
    }

    /// Checks that the fields of an output are those of a section, with their types.
    #[track_caller]
    pub(super) fn check(&mut self, title: &str, output: &Value) {
        let section = self.sections.get_mut(title).unwrap_or_else(|| panic!("docs/json.md has no section {title}"));
        section.visit(title, "", output);
    }

    /// Checks that each field of each table occurred in an output, except in sections that could not be tested.
    pub(super) fn assert_all_found(&self, is_untested: impl Fn(&str) -> bool) {
        for (title, section) in self.sections.iter().filter(|(title, _)| !is_untested(title)) {
            let fields: BTreeSet<_> = section.fields.keys().cloned().collect();
            let missing: Vec<_> = fields.difference(&section.found).collect();
            assert!(missing.is_empty(), "{title}: {missing:?} occurred in no output");
        }
    }
}

impl Section {
    #[track_caller]
    fn visit(&mut self, title: &str, path: &str, value: &Value) {
        if let Some(wanted) = self.fields.get(path) {
            assert!(has_type(value, wanted), "{title}: `{path}` is {wanted} in docs/json.md, but {value}");
            self.found.insert(path.to_owned());
            if !self.has_rows_below(path) {
                return;
            }
        } else {
            assert!(self.has_rows_below(path), "{title}: docs/json.md has no field `{path}`, which is {value}");
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let child = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.visit(title, &child, member);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(title, &format!("{path}[]"), item)),
            _ => {}
        }
    }

    fn has_rows_below(&self, path: &str) -> bool {
        self.fields
            .keys()
            .any(|field| field.strip_prefix(path).is_some_and(|rest| path.is_empty() || rest.starts_with(['.', '['])))
    }
}

/// Returns whether a value has a type of the tables.
fn has_type(value: &Value, wanted: &str) -> bool {
    if let Some(wanted) = wanted.strip_suffix(" or null") {
        return value.is_null() || has_type(value, wanted);
    }
    let text = value.as_str();
    match wanted {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "digest" => text.is_some_and(|text| vmroot_model::Digest::parse(text).is_ok()),
        "time" => text.is_some_and(is_time),
        other => panic!("docs/json.md: unknown type {other:?}"),
    }
}

/// Returns whether a text is a time of RFC 3339.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let rest = rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches('0'));
    matches!(rest, "Z" | "+00:00" | "-00:00")
}

/// Returns the words in backticks.
fn quoted(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split('`').skip(1).step_by(2).map(str::to_owned)
}

#[test]
fn times_have_the_format_of_rfc_3339() {
    assert!(is_time("2024-02-29T23:59:59Z") && is_time("2024-02-29T23:59:59.5+02:00"));
    assert!(!is_time("1700000000") && !is_time("2024-02-29") && !is_time("2024-02-29 23:59:59"));
}
