//! Lenient JSON readers, for documents of real images that deviate from the specifications.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Serializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};

use crate::error::DocumentKind;
use crate::{Digest, Error, Result};

/// The largest number of entries in a list of descriptors, diff ids or history.
///
/// Without a limit, a few megabytes of `{},{},…` would become gigabytes of records. Docker allows 127 layers.
pub(crate) const LIST_LIMIT: usize = 16_384;

/// Parses a JSON object. Unlike serde, does not accept an array of the fields in order.
///
/// `serde_json` limits the depth of nesting to 128. The caller limits the size.
pub(crate) fn parse_object<T: DeserializeOwned>(bytes: &[u8], document: DocumentKind, digest: &Digest) -> Result<T> {
    let invalid = |reason| Error::InvalidDocument { document, digest: *digest, reason };
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("it is not a JSON object".to_owned()));
    }
    serde_json::from_slice(bytes).map_err(|error| match exceeded_limit(&error) {
        Some(what) => {
            Error::DocumentLimit { document, digest: *digest, what, line: error.line(), column: error.column() }
        }
        None => invalid(error.to_string()),
    })
}

/// Returns the limit that a document exceeds. `serde_json` exposes the kind of an error only in its text.
fn exceeded_limit(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        return Some("more than 128 nested objects and lists".to_owned());
    }
    let list = list_too_long();
    text.starts_with(&list).then_some(list)
}

fn list_too_long() -> String {
    format!("a list of more than {LIST_LIMIT} entries (LIST_LIMIT)")
}

/// Deserialises `null` as the default value. Go writes `null` for nil slices and maps.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Deserialises a list without its `null` entries, and `null` as an empty list.
///
/// Templates and scripts that generate documents leave such entries. Go reads them as empty values.
pub(crate) fn non_null_list<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let entries: Vec<Option<T>> = null_as_default(deserializer)?;
    Ok(entries.into_iter().flatten().collect())
}

/// Does the same as [`non_null_list`], for at most [`LIST_LIMIT`] entries.
pub(crate) fn limited_non_null_list<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let entries: Vec<Option<T>> = limited_list(deserializer)?;
    Ok(entries.into_iter().flatten().collect())
}

/// Deserialises an object of strings without its `null` members, and `null` as an empty object.
pub(crate) fn string_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    let members: BTreeMap<String, Option<String>> = null_as_default(deserializer)?;
    Ok(members.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// Deserialises a list of at most [`LIST_LIMIT`] entries, and `null` as an empty list.
///
/// A `null` entry is an error unless `T` accepts it, so that no layer is skipped.
pub(crate) fn limited_list<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
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

/// Deserialises a size in bytes: an integer from 0 to the largest `int64` of Go, like all other tools.
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

/// Deserialises a command line: a list, a string, or `null`. As in Docker, a string is a single argument.
pub(crate) fn command_line<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
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

/// Deserialises a set from an object with empty values, as Go writes it, or from a list or `null`. The result is
/// sorted.
pub(crate) fn string_set<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
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

/// Serialises a set as Go does: an object whose values are empty objects.
pub(crate) fn serialize_string_set<S: Serializer>(
    set: &[String],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(set.iter().map(|it| (it, BTreeMap::<(), ()>::new())))
}
