//! Changes to members of JSON objects that leave all other bytes of the text as they are.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A member of an object.
pub(super) struct Member {
    pub(super) key: String,
    /// The position of the value in the text.
    pub(super) value: Range<usize>,
}

/// The white space between members: a unit of indentation, or nothing for a text on one line.
pub(super) struct Layout(Option<String>);

impl Layout {
    /// Returns the layout of a text, by the white space before its first member. A text without members has tabs, as
    /// podman and docker write them.
    pub(super) fn of(text: &str) -> Self {
        let after_brace = text.trim_start().strip_prefix('{').unwrap_or_default();
        let Some(quote) = after_brace.find('"') else { return Self(Some("\t".to_owned())) };
        Self(after_brace[..quote].rsplit_once('\n').map(|(_, indentation)| indentation.to_owned()))
    }

    fn line_break(&self, depth: usize) -> String {
        self.0.as_ref().map_or(String::new(), |unit| format!("\n{}", unit.repeat(depth)))
    }

    /// Returns an object with one member. `value` is JSON.
    pub(super) fn object(&self, depth: usize, key: &str, value: &str) -> String {
        let member = self.member(key, value);
        format!("{{{}{member}{}}}", self.line_break(depth + 1), self.line_break(depth))
    }

    fn member(&self, key: &str, value: &str) -> String {
        let space = if self.0.is_some() { " " } else { "" };
        format!("{}:{space}{value}", serde_json::Value::from(key))
    }
}

/// Returns the members of the object at `object`.
///
/// # Errors
/// The text there is not an object.
pub(super) fn members(text: &str, object: Range<usize>) -> serde_json::Result<Vec<Member>> {
    let RawMembers(raw) = serde_json::from_str(&text[object])?;
    let member = |(key, value): (String, &RawValue)| {
        // The value is a part of the text, so the difference of the addresses is its position.
        let start = value.get().as_ptr().addr() - text.as_ptr().addr();
        Member { key, value: start..start + value.get().len() }
    };
    Ok(raw.into_iter().map(member).collect())
}

/// Sets a member of the object at `object`, `depth` objects below the top. `value` is JSON.
pub(super) fn set(
    text: &mut String,
    object: Range<usize>,
    layout: &Layout,
    depth: usize,
    key: &str,
    value: &str,
) -> serde_json::Result<()> {
    let members = members(text, object.clone())?;
    if let Some(member) = members.iter().rfind(|member| member.key == key) {
        text.replace_range(member.value.clone(), value);
    } else if let Some(last) = members.last() {
        let member = format!(",{}{}", layout.line_break(depth + 1), layout.member(key, value));
        text.insert_str(last.value.end, &member);
    } else {
        text.replace_range(object, &layout.object(depth, key, value));
    }
    Ok(())
}

/// Removes all members with this key from the object at `object`. Returns whether there was one.
pub(super) fn remove(text: &mut String, object: Range<usize>, key: &str) -> serde_json::Result<bool> {
    let mut found = false;
    let mut object = object;
    loop {
        let members = members(text, object.clone())?;
        let Some(index) = members.iter().position(|member| member.key == key) else { return Ok(found) };
        found = true;
        let end = members[index].value.end;
        let removed = match (index, members.len()) {
            (0, 1) => object.start + 1..object.end - 1,
            (0, _) => object.start + 1..end + text[end..].find(',').map_or(0, |comma| comma + 1),
            (index, _) => members[index - 1].value.end..end,
        };
        object.end -= removed.len();
        text.replace_range(removed, "");
    }
}

struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_in(text: &str, key: &str, value: &str) -> String {
        let mut text = text.to_owned();
        let all = 0..text.len();
        let layout = Layout::of(&text);
        set(&mut text, all, &layout, 0, key, value).unwrap();
        text
    }

    fn remove_from(text: &str, key: &str) -> String {
        let mut text = text.to_owned();
        let all = 0..text.len();
        remove(&mut text, all, key).unwrap();
        text
    }

    #[test]
    fn other_bytes_stay() {
        assert_eq!(set_in("{}", "a", "1"), "{\n\t\"a\": 1\n}");
        assert_eq!(set_in(r#"{"b":[1,  2]}"#, "a", "1"), r#"{"b":[1,  2],"a":1}"#);
        assert_eq!(set_in("{\n  \"b\" : 1.50\n}", "a", "{}"), "{\n  \"b\" : 1.50,\n  \"a\": {}\n}");
        assert_eq!(set_in(r#"{"a": "old", "b": 2}"#, "a", "1"), r#"{"a": 1, "b": 2}"#);
        assert_eq!(set_in("{}", "\"", "1"), "{\n\t\"\\\"\": 1\n}");
        let three = r#"{ "a": 1, "b" : {"x": ","} , "c":3 }"#;
        assert_eq!(remove_from(three, "a"), r#"{ "b" : {"x": ","} , "c":3 }"#);
        assert_eq!(remove_from(three, "b"), r#"{ "a": 1 , "c":3 }"#);
        assert_eq!(remove_from(three, "c"), r#"{ "a": 1, "b" : {"x": ","} }"#);
        assert_eq!(remove_from(three, "d"), three);
        assert_eq!(remove_from("{ \"a\": 1 }", "a"), "{}");
        assert_eq!(remove_from(r#"{"a":1,"b":2,"a":3}"#, "a"), r#"{"b":2}"#);
    }
}
