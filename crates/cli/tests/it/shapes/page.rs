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
    /// The differences between the page and the outputs.
    differences: BTreeSet<String>,
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
        let mut page = Self { sections: BTreeMap::new(), without: BTreeSet::new(), differences: BTreeSet::new() };
        let mut title = String::new();
        for line in TEXT.lines() {
            if let Some(name) = line.strip_prefix("## ") {
                title = name.replace('`', "");
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
    pub(super) fn check(&mut self, title: &str, output: &Value) {
        let section = self.sections.get_mut(title).unwrap_or_else(|| panic!("docs/json.md has no section {title}"));
        let mut differences = Vec::new();
        section.visit("", output, &mut differences);
        self.differences.extend(differences.into_iter().map(|text| format!("{title}: {text}")));
    }

    /// Fails if an output had other fields than its table, or if a field occurred in no output, except in sections that could not be tested.
    pub(super) fn assert_same(&mut self, is_untested: impl Fn(&str) -> bool) {
        for (title, section) in self.sections.iter().filter(|(title, _)| !is_untested(title)) {
            let fields: BTreeSet<_> = section.fields.keys().cloned().collect();
            let missing: Vec<_> = fields.difference(&section.found).collect();
            if !missing.is_empty() {
                self.differences.insert(format!("{title}: {missing:?} occurred in no output"));
            }
        }
        let differences: Vec<_> = self.differences.iter().map(String::as_str).collect();
        assert!(differences.is_empty(), "docs/json.md differs from the program:\n{}", differences.join("\n"));
    }
}

impl Section {
    fn visit(&mut self, path: &str, value: &Value, differences: &mut Vec<String>) {
        if let Some(wanted) = self.fields.get(path) {
            if !has_type(value, wanted) {
                differences.push(format!("`{path}` should be {wanted}, but is {value}"));
            }
            self.found.insert(path.to_owned());
            if !self.has_rows_below(path) {
                return;
            }
        } else if !self.has_rows_below(path) {
            differences.push(format!("`{path}` has no row, and is {value}"));
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let child = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.visit(&child, member, differences);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(&format!("{path}[]"), item, differences)),
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
