//! Writing JSON: the bytes that Go's `encoding/json` writes, and objects whose members keep their order and their text.

use std::io;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;

/// Writes `value` as Go's `json.Marshal` does: without whitespace, and with `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// Other tools compute the digest of a converted config from these bytes, so the same config then has the same digest.
///
/// # Panics
/// If `value` has a map whose keys are not strings, or a `Serialize` that fails. The types of this crate have neither.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    value.serialize(&mut serializer).expect("documents are plain data, and a Vec takes all bytes");
    bytes
}

/// The escapes of Go. Only strings differ from `serde_json`'s compact form.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((position, escape)) = rest.char_indices().find_map(|(at, it)| Some((at, go_escape(it)?))) {
            writer.write_all(&rest.as_bytes()[..position])?;
            writer.write_all(escape.as_bytes())?;
            let length = rest[position..].chars().next().map_or(0, char::len_utf8);
            rest = &rest[position + length..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_raw_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(compact(fragment).as_bytes())
    }
}

/// Returns the escape of a character that JSON allows in strings and Go escapes nevertheless.
fn go_escape(character: char) -> Option<&'static str> {
    match character {
        '<' => Some("\\u003c"),
        '>' => Some("\\u003e"),
        '&' => Some("\\u0026"),
        '\u{2028}' => Some("\\u2028"),
        '\u{2029}' => Some("\\u2029"),
        _ => None,
    }
}

/// Returns valid JSON without the whitespace between its tokens, and with Go's escapes.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for character in json.chars() {
        if !in_string {
            if !character.is_ascii_whitespace() {
                text.push(character);
            }
            in_string = character == '"';
            continue;
        }
        match go_escape(character) {
            Some(escape) => text.push_str(escape),
            None => text.push(character),
        }
        in_string = escaped || character != '"';
        escaped = !escaped && character == '\\';
    }
    text
}

/// A JSON object whose members keep their order and the text of their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawObject {
    members: Vec<(String, Box<RawValue>)>,
}

impl RawObject {
    /// Returns the value of a member. Of members with the same name, the last counts, as in Go.
    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    /// Parses the value of a member. Returns the default for a member that is missing, null or of another type.
    pub(crate) fn parsed<'a, T: Deserialize<'a> + Default>(&'a self, name: &str) -> T {
        self.get(name).and_then(|it| serde_json::from_str::<Option<T>>(it.get()).ok().flatten()).unwrap_or_default()
    }

    /// Sets a member in its place, or at the end if it is new.
    pub(crate) fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let value = raw(value);
        match self.members.iter_mut().rev().find(|(key, _)| key == name) {
            Some((_, place)) => *place = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    /// Removes all members of a name.
    pub(crate) fn remove(&mut self, name: &str) {
        self.members.retain(|(key, _)| key != name);
    }

    /// Sorts the members by name, as Go writes a map. Of members with the same name, the last stays.
    pub(crate) fn sort(&mut self) {
        let unsorted = std::mem::take(&mut self.members);
        self.members = unsorted.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
    }

    /// Returns the members, in order.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.members.iter().map(|(name, value)| (name.as_str(), &**value))
    }
}

/// Returns `value` as JSON text in the form of Go.
pub(crate) fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    let text = String::from_utf8(to_vec(value)).expect("JSON is UTF-8");
    RawValue::from_string(text).expect("the text was just written as JSON")
}

/// Returns whether a value says nothing: null, false, zero, or an empty text, list or object.
pub(crate) fn is_empty_value(value: &RawValue) -> bool {
    matches!(compact(value.get()).as_str(), "null" | "false" | "0" | "\"\"" | "[]" | "{}")
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = RawObject;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawObject { members })
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_the_escapes_of_go() {
        let text = "<a href=\"x\">\u{2028}&\u{2029}</a>\u{1}\u{8}\n\\é";
        let go = r#""\u003ca href=\"x\"\u003e\u2028\u0026\u2029\u003c/a\u003e\u0001\b\n\\é""#;
        assert_eq!(String::from_utf8(to_vec(text)).unwrap(), go);
    }

    #[test]
    fn objects_keep_order_unknown_members_and_numbers() {
        let text = "{ \"z\" : 1.50e3,\n \"a\": { \"b\\\"\\\\\" : [ \"x y\", null ] } , \"n\":10000000000000000000000,\"u\":\"<\\u00e9\" }";
        let mut object: RawObject = serde_json::from_str(text).unwrap();
        let written = |object: &RawObject| String::from_utf8(to_vec(object)).unwrap();
        let same = r#"{"z":1.50e3,"a":{"b\"\\":["x y",null]},"n":10000000000000000000000,"u":"\u003c\u00e9"}"#;
        assert_eq!(written(&object), same);
        object.set("a", &true);
        object.set("new", "&");
        object.remove("n");
        assert_eq!(written(&object), r#"{"z":1.50e3,"a":true,"u":"\u003c\u00e9","new":"\u0026"}"#);
        object.sort();
        assert_eq!(written(&object), r#"{"a":true,"new":"\u0026","u":"\u003c\u00e9","z":1.50e3}"#);
    }

    #[test]
    fn empty_values_are_recognised() {
        for (text, empty) in
            [("null", true), ("{ }", true), ("[\n]", true), ("0", true), ("\" \"", false), ("1", false), ("[0]", false)]
        {
            assert_eq!(is_empty_value(&RawValue::from_string(text.to_owned()).unwrap()), empty, "{text}");
        }
    }
}
