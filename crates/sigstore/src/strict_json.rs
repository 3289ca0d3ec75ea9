//! Reads JSON documents that decide about trust: a member that appears twice is an error.
//!
//! `serde_json` keeps the last of two members with one name, and other readers keep the first. A document with such
//! members would mean one thing to a signer and another to a verifier.
//!
//! [`parse`] reads a document. [`Object`] then takes its members one by one, and [`Object::finish`] refuses those that
//! were not taken.
//!
//! ```
//! use vmroot_sigstore::strict_json::{self, Error};
//!
//! let mut object = strict_json::parse_object(br#"{"type": "reject", "keyPath": "a"}"#, "policy", 100)?;
//! assert_eq!(object.string("type")?, "reject");
//! assert_eq!(object.finish().unwrap_err().to_string(), "policy has the unknown member \"keyPath\"");
//!
//! let twice = strict_json::parse(br#"{"a": 1, "\u0061": 2}"#, "policy", 100);
//! assert!(matches!(twice, Err(Error::Syntax { .. })));
//! # Ok::<(), Error>(())
//! ```

mod object;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub use object::Object;

/// An error from reading a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The document is longer than the caller allows.
    #[error("{document} has more than {limit} bytes")]
    TooLong {
        /// The name of the document.
        document: String,
        /// The largest length in bytes.
        limit: usize,
    },
    /// The document is not JSON, has data after its end, is nested too deeply, or has a member twice.
    #[error("{document} is not valid: {reason}")]
    Syntax {
        /// The name of the document.
        document: String,
        /// The reason, with line and column.
        reason: String,
    },
    /// A member has another type than expected.
    #[error("{place} is not {expected}")]
    Type {
        /// The path of the value in its document, such as `policy.default[0]`.
        place: String,
        /// The expected type with its article.
        expected: &'static str,
    },
    /// A member is missing.
    #[error("{place} has no member {name:?}")]
    Missing {
        /// The path of the object.
        place: String,
        /// The name of the member.
        name: String,
    },
    /// A member is not known.
    #[error("{place} has the unknown member {name:?}")]
    Unknown {
        /// The path of the object.
        place: String,
        /// The name of the member, at most 100 characters of it.
        name: String,
    },
}

/// Reads a document of at most `limit` bytes. Errors name it `document`.
///
/// The depth is limited to 128 by `serde_json`. Integers between -2^63 and 2^64 - 1 are kept exactly.
///
/// # Errors
///
/// - [`Error::TooLong`]: the document has more than `limit` bytes.
/// - [`Error::Syntax`]: the document is not one JSON value in UTF-8, or an object has a member twice.
pub fn parse(bytes: &[u8], document: &str, limit: usize) -> Result<Value, Error> {
    if bytes.len() > limit {
        return Err(Error::TooLong { document: document.to_owned(), limit });
    }
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => Err(Error::Syntax { document: document.to_owned(), reason: error.to_string() }),
    }
}

/// Reads a document that is an object.
///
/// # Errors
///
/// Those of [`parse`], and [`Error::Type`] if the document is not an object.
pub fn parse_object(bytes: &[u8], document: &str, limit: usize) -> Result<Object, Error> {
    Object::of(parse(bytes, document, limit)?, document)
}

/// A value without duplicate members.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member {:?} appears twice", object::shortened(&name))));
            }
            let Strict(value) = access.next_value()?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        parse(text.as_bytes(), "x", 1000).unwrap_err().to_string()
    }

    #[test]
    fn duplicates_are_refused_at_any_depth_and_however_they_are_spelt() {
        assert!(reason(r#"{"a":1,"a":1}"#).contains("\"a\" appears twice"));
        assert!(reason(r#"[{"b":{"a":1,"\u0061":null}}]"#).contains("\"a\" appears twice"));
        assert!(parse(br#"{"a":1,"A":1,"b":{"a":1}}"#, "x", 1000).is_ok());
    }

    #[test]
    fn only_one_complete_value_is_read() {
        for text in ["", " ", "{", "{} {}", "{},", "{}x", "{a:1}", "{\"a\":1,}", "\u{feff}{}", "NaN", "1e999", "'a'"] {
            assert!(parse(text.as_bytes(), "x", 1000).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"", "x", 1000).is_err());
        assert_eq!(parse(b" {} \n", "x", 1000), Ok(Value::Object(Map::new())));
    }

    #[test]
    fn depth_and_length_are_limited() {
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes(), "x", 1 << 20), Err(Error::Syntax { .. })));
        assert!(matches!(parse(b"{}", "x", 1), Err(Error::TooLong { limit: 1, .. })));
    }

    #[test]
    fn integers_are_exact() {
        for text in ["9223372036854775807", "-9223372036854775808", "18446744073709551615", "0"] {
            assert_eq!(parse(text.as_bytes(), "x", 100).unwrap().to_string(), text);
        }
        assert!(parse(b"1.0", "x", 100).unwrap().as_i64().is_none());
    }
}
