//! The functions that docker and podman add.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{Called, text};
use crate::TEXT_LIMIT;
use crate::json::{JsonStyle, to_json};
use crate::schema::{Field, Struct, Type};
use crate::value::{List, Value};

/// Returns a text. Bytes that are not UTF-8 are replaced.
pub(crate) fn text_of<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    String::from_utf8_lossy(value.as_text().unwrap_or_default())
}

fn too_long(length: usize) -> String {
    format!("a text of {length} bytes exceeds the limit TEXT_LIMIT of {TEXT_LIMIT}")
}

/// Joins a list of texts.
pub(crate) fn join<'a>(list: &Value<'a>, separator: &Value<'a>) -> Called<'a> {
    let Value::List(list) = list else { return Ok(Value::text("")) };
    let separator = separator.as_text().unwrap_or_default();
    let mut out = Vec::new();
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(item.as_text().unwrap_or_default());
        if out.len() > TEXT_LIMIT {
            return Err(too_long(out.len()));
        }
    }
    text(out)
}

/// Splits a text at each separator, or into characters if the separator is empty.
pub(crate) fn split<'a>(value: &Value<'a>, separator: &Value<'a>) -> Called<'a> {
    let (value, separator) = (text_of(value), text_of(separator));
    let owned = |part: &str| part.as_bytes().to_vec();
    let parts: Vec<Vec<u8>> = match separator.is_empty() {
        true => value.char_indices().map(|(at, next)| owned(&value[at..at + next.len_utf8()])).collect(),
        false => value.split(&*separator).map(owned).collect(),
    };
    Ok(Value::List(List::Texts(parts.into())))
}

/// Changes the first letter of each word to upper case.
pub(crate) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut previous = ' ';
    for next in text.chars() {
        match is_separator(previous) {
            true => out.extend(next.to_uppercase()),
            false => out.push(next),
        }
        previous = next;
    }
    out
}

/// Returns whether a word can start after a character.
fn is_separator(character: char) -> bool {
    match character.is_ascii() {
        true => !(character.is_ascii_alphanumeric() || character == '_'),
        false => character.is_whitespace(),
    }
}

/// Puts spaces before and after a text that is not empty.
pub(crate) fn pad<'a>(value: &Value<'a>, before: &Value<'a>, after: &Value<'a>) -> Called<'a> {
    let source = value.as_text().unwrap_or_default();
    if source.is_empty() {
        return Ok(value.clone());
    }
    let count = |value: &Value<'_>| match value {
        Value::Int(count) => usize::try_from(*count).map_err(|_| "strings: negative Repeat count".to_owned()),
        _ => Ok(0),
    };
    let (before, after) = (count(before)?, count(after)?);
    let length = before.saturating_add(after).saturating_add(source.len());
    if length > TEXT_LIMIT {
        return Err(too_long(length));
    }
    text([" ".repeat(before).as_bytes(), source, " ".repeat(after).as_bytes()].concat())
}

/// Cuts a text after this many bytes.
pub(crate) fn truncate<'a>(value: &Value<'a>, length: &Value<'a>) -> Called<'a> {
    let source = value.as_text().unwrap_or_default();
    let Value::Int(length) = length else { return Ok(value.clone()) };
    match usize::try_from(*length) {
        Ok(length) if length >= source.len() => Ok(value.clone()),
        Ok(length) => text(source[..length].to_vec()),
        Err(_) => Err(format!("runtime error: slice bounds out of range [:{length}]")),
    }
}

/// Serialises a value as one line of JSON, without escapes for HTML.
pub(crate) fn json(value: &Value<'_>) -> String {
    let style = JsonStyle { indent: None, escape_html: false };
    let (json, of) = to_typed(value);
    to_json(&json, &of, style)
}

fn to_typed(value: &Value<'_>) -> (Json, Type) {
    match value {
        Value::Interface(inner) => to_typed(inner),
        Value::Missing | Value::Nil(_) => (Json::Null, Type::Any),
        Value::Bool(value) => (Json::Bool(*value), Type::Bool),
        Value::Int(value) => (Json::from(*value), Type::Int),
        Value::Float(value) => (Json::from(*value), Type::Any),
        Value::Text(_) | Value::Digest(_) => (Json::String(text_of(value).into_owned()), Type::String),
        Value::Time(time, _) => (Json::String(time.to_rfc3339()), Type::Time),
        Value::List(List::Json(items, of)) => (Json::Array(items.to_vec()), Type::Slice(Box::new((*of).clone()))),
        Value::List(list) => (Json::Array(list.iter().map(|item| to_typed(&item).0).collect()), Type::Any),
        Value::Map(object, of) => {
            (object.map_or(Json::Null, |object| Json::Object(object.clone())), Type::Map(Box::new((*of).clone())))
        }
        Value::Struct(object, of) => (
            object.map_or(Json::Null, |object| Json::Object(object.clone())),
            Type::Struct(Struct { name: of.name, fields: of.fields.iter().map(Field::clone).collect() }),
        ),
    }
}
