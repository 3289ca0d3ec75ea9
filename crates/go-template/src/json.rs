//! Serialises JSON as Go's `encoding/json` does.

use serde_json::Value as Json;

use crate::schema::{Omit, Type};
use crate::time::Time;

/// Options of [`to_json`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonStyle {
    /// The number of spaces for each level of `json.MarshalIndent`, or `None` for one line.
    pub indent: Option<usize>,
    /// Whether `<`, `>` and `&` are escaped, which is the default of Go's encoder.
    pub escape_html: bool,
}

/// Serialises a value of a Go type: fields of a struct in the order of the type, keys of a map sorted, `null` for nil.
/// A field that the value lacks has the zero value of its type. No newline is at the end.
pub fn to_json(value: &Json, of: &Type, style: JsonStyle) -> String {
    let mut writer = Writer { out: String::new(), style };
    writer.value(value, of, 0);
    writer.out
}

struct Writer {
    out: String,
    style: JsonStyle,
}

impl Writer {
    fn value(&mut self, value: &Json, of: &Type, depth: usize) {
        match (of, value) {
            (Type::Pointer(_), Json::Null) => self.out.push_str("null"),
            (Type::Pointer(of), value) => self.value(value, of, depth),
            (Type::Bool, Json::Null) => self.out.push_str("false"),
            (Type::Int, Json::Null) => self.out.push('0'),
            (Type::String | Type::Digest, Json::Null) => self.string(""),
            (Type::Time, Json::Null) => self.string(&Time::default().to_rfc3339()),
            (Type::Struct(of), Json::Null) => {
                let (mut entries, object) = (Vec::new(), serde_json::Map::new());
                collect_fields(&mut entries, of, &object);
                self.object(&entries, depth);
            }
            (Type::Struct(of), Json::Object(object)) => {
                let mut entries = Vec::new();
                collect_fields(&mut entries, of, object);
                self.object(&entries, depth);
            }
            (of, Json::Object(object)) => {
                let of = if let Type::Map(of) = of { of } else { &Type::Any };
                let entries: Vec<_> = object.iter().map(|(key, value)| (key.as_str(), value, of)).collect();
                self.object(&entries, depth);
            }
            (of, Json::Array(items)) => {
                let of = if let Type::Slice(of) = of { of } else { &Type::Any };
                self.array(items, of, depth);
            }
            (Type::Time, Json::String(text)) => {
                self.string(&Time::parse(text).map_or_else(|| text.clone(), |time| time.to_rfc3339()));
            }
            (_, Json::String(text)) => self.string(text),
            (_, Json::Number(number)) if number.is_f64() => self.float(number.as_f64().unwrap_or_default()),
            (_, scalar) => self.out.push_str(&scalar.to_string()),
        }
    }

    fn object(&mut self, entries: &[(&str, &Json, &Type)], depth: usize) {
        self.out.push('{');
        for (index, (key, value, of)) in entries.iter().enumerate() {
            self.separate(index, depth + 1);
            self.string(key);
            self.out.push_str(if self.style.indent.is_some() { ": " } else { ":" });
            self.value(value, of, depth + 1);
        }
        self.close('}', entries.is_empty(), depth);
    }

    fn array(&mut self, items: &[Json], of: &Type, depth: usize) {
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            self.separate(index, depth + 1);
            self.value(item, of, depth + 1);
        }
        self.close(']', items.is_empty(), depth);
    }

    fn separate(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push(',');
        }
        self.line_break(depth);
    }

    fn close(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty {
            self.line_break(depth);
        }
        self.out.push(bracket);
    }

    fn line_break(&mut self, depth: usize) {
        if let Some(indent) = self.style.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    /// Writes a number with its fewest digits: with an exponent below 1e-6 and from 1e21 on.
    fn float(&mut self, value: f64) {
        let is_plain = value == 0.0 || (1e-6..1e21).contains(&value.abs());
        let text = if is_plain { format!("{value}") } else { format!("{value:e}") };
        match text.split_once('e') {
            Some((mantissa, power)) if !power.starts_with('-') => self.out.push_str(&format!("{mantissa}e+{power}")),
            _ => self.out.push_str(&text),
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for next in text.chars() {
            match next {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '<' | '>' | '&' if self.style.escape_html => self.escape(next),
                next if next < ' ' || matches!(next, '\u{2028}' | '\u{2029}') => self.escape(next),
                next => self.out.push(next),
            }
        }
        self.out.push('"');
    }

    fn escape(&mut self, character: char) {
        self.out.push_str(&format!("\\u{:04x}", character as u32));
    }
}

fn collect_fields<'v>(
    entries: &mut Vec<(&'v str, &'v Json, &'v Type)>,
    of: &'v crate::Struct,
    object: &'v serde_json::Map<String, Json>,
) {
    for field in &of.fields {
        match (field.key, &field.of) {
            (None, Type::Struct(embedded)) => collect_fields(entries, embedded, object),
            (None, _) => {}
            (Some(key), of) => {
                let value = object.get(key).unwrap_or(&Json::Null);
                let is_left_out = match field.omit {
                    Omit::Never => false,
                    Omit::Empty => is_empty(value, of),
                    Omit::Zero => is_zero(value, of),
                };
                if !is_left_out {
                    entries.push((key, value, of));
                }
            }
        }
    }
}

/// Returns whether `omitempty` leaves a value out.
fn is_empty(value: &Json, of: &Type) -> bool {
    match (of, value) {
        (Type::Struct(_) | Type::Time, _) => false,
        (Type::Pointer(_), value) => value.is_null(),
        (_, Json::Array(items)) => items.is_empty(),
        (_, Json::Object(object)) => object.is_empty(),
        (of, value) => is_zero(value, of),
    }
}

/// Returns whether a value is the zero value of its type.
fn is_zero(value: &Json, of: &Type) -> bool {
    match (of, value) {
        (_, Json::Null) => true,
        (Type::Pointer(_), _) => false,
        (Type::Struct(of), Json::Object(object)) => of.fields.iter().all(|field| match field.key {
            Some(key) => object.get(key).is_none_or(|value| is_zero(value, &field.of)),
            None => is_zero(value, &field.of),
        }),
        (Type::Time, Json::String(text)) => Time::parse(text) == Some(Time::default()),
        (_, Json::Bool(value)) => !value,
        (_, Json::Number(number)) => number.as_f64() == Some(0.0),
        (_, Json::String(text)) => text.is_empty(),
        _ => false,
    }
}
