//! The annotations of encrypted layers.

#[cfg(feature = "ciphers")]
mod reading;

use std::collections::BTreeMap;

#[cfg(feature = "ciphers")]
pub(crate) use self::reading::{Scheme, public_options, wrapped_keys, write};

/// The prefix of all annotations about encryption.
pub const ANNOTATION_PREFIX: &str = "org.opencontainers.image.enc.";

/// The prefix of the annotations with wrapped keys.
const KEYS: &str = "org.opencontainers.image.enc.keys.";

/// Returns the annotations that are not about encryption.
pub fn without_encryption(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let other = annotations.iter().filter(|(key, _)| !key.starts_with(ANNOTATION_PREFIX));
    other.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Returns the names of all forms in which a layer's key is wrapped, those of other tools included.
pub(crate) fn schemes(annotations: &BTreeMap<String, String>) -> String {
    let keys = annotations.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(key, _)| key.strip_prefix(KEYS));
    keys.map(|name| name.chars().take(64).collect()).collect::<Vec<String>>().join(", ")
}
