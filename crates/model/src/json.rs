//! Lenient readers for what real images hold where the specifications ask for something tidier.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Serializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use crate::error::DocumentKind;
use crate::{Digest, Error, Result};

/// The most entries that a list of descriptors, diff ids or history may have.
///
/// Docker stops at 127 layers; the bound keeps a few megabytes of `{},{},…` from becoming gigabytes of records.
pub(crate) const LIST_LIMIT: usize = 16_384;

/// Reads a JSON object; serde would take an array with the fields in order as well.
///
/// The depth of nesting is bounded by `serde_json` (128), the size by the caller.
pub(crate) fn parse_object<T: DeserializeOwned>(bytes: &[u8], document: DocumentKind, digest: &Digest) -> Result<T> {
    let invalid = |reason| Error::InvalidDocument { document, digest: *digest, reason };
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("it is not a JSON object".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| match passed_limit(&error) {
        Some(what) => {
            Error::DocumentLimit { document, digest: *digest, what, line: error.line(), column: error.column() }
        }
        None => invalid(error.to_string()),
    })
}

/// The limit that a document passes: the text is all that `serde_json` keeps of an error's kind.
fn passed_limit(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        return Some("more than 128 objects and lists in each other".to_owned());
    }
    let list = list_too_long();
    text.starts_with(&list).then_some(list)
}

fn list_too_long() -> String {
    format!("a list of more than {LIST_LIMIT} entries (LIST_LIMIT)")
}

/// Reads `null` as the default value: Go writes it for every nil slice and map.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a list without its entries that are `null`, and `null` as an empty one.
///
/// Go reads such an entry as an empty value and goes on; templates and scripts that write documents leave them.
pub(crate) fn present<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let entries: Vec<Option<T>> = null_as_default(deserializer)?;
    Ok(entries.into_iter().flatten().collect())
}

/// Does the same for at most [`LIST_LIMIT`] entries.
pub(crate) fn present_list<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let entries: Vec<Option<T>> = list(deserializer)?;
    Ok(entries.into_iter().flatten().collect())
}

/// Reads an object of strings without its members that are `null`, and `null` as an empty one.
pub(crate) fn notes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    let members: BTreeMap<String, Option<String>> = null_as_default(deserializer)?;
    Ok(members.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// Reads a list of at most [`LIST_LIMIT`] entries, `null` as an empty one. An entry that is `null` is an error unless `T`
/// has room for it: no layer may go unnoticed.
pub(crate) fn list<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> std::result::Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if list.len() == LIST_LIMIT {
                    return Err(A::Error::custom(list_too_long()));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_any(List(PhantomData))
}

/// Reads a size in bytes: a whole number that is not negative and fits Go's `int64`, as every other tool demands.
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    struct Size;

    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size in bytes, from 0 to 9223372036854775807")
        }

        fn visit_u64<E: serde::de::Error>(self, size: u64) -> std::result::Result<u64, E> {
            if i64::try_from(size).is_err() {
                return Err(E::custom(format_args!("size {size} is above {}", i64::MAX)));
            }
            Ok(size)
        }

        fn visit_i64<E: serde::de::Error>(self, size: i64) -> std::result::Result<u64, E> {
            u64::try_from(size).map_err(|_| E::custom(format_args!("size {size} is negative")))
        }
    }

    deserializer.deserialize_any(Size)
}

/// Reads a command line: a list, a single string (one word, as Docker reads it) or `null`.
pub(crate) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "expected a string or a list of strings")]
    enum Words {
        One(String),
        Many(Vec<Option<String>>),
    }

    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::One(word)) => vec![word],
        Some(Words::Many(words)) => words.into_iter().flatten().collect(),
    })
}

/// Reads a set written as Go writes it, an object with empty values; a list or `null` will do as well. Sorted.
pub(crate) fn set<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "expected an object or a list of strings")]
    enum Set {
        Keys(BTreeMap<String, IgnoredAny>),
        List(BTreeSet<Option<String>>),
    }

    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Set::Keys(keys)) => keys.into_keys().collect(),
        Some(Set::List(list)) => list.into_iter().flatten().collect(),
    })
}

/// Writes a set as Go does, an object with empty objects for values.
pub(crate) fn write_set<S: Serializer>(set: &[String], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(set.iter().map(|it| (it, BTreeMap::<(), ()>::new())))
}
