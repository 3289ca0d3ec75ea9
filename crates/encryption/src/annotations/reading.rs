//! Wrapped keys and public options in annotations.

use std::collections::BTreeMap;

use super::KEYS;
use crate::encoding::standard;
use crate::limits::{ANNOTATION_LIMIT, WRAPPED_KEYS, at_most};
use crate::{Error, Result};

/// The annotation with the public options.
const PUBLIC_OPTIONS: &str = "org.opencontainers.image.enc.pubopts";

/// A form of wrapped keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Jwe,
    Pkcs7,
    Pgp,
}

impl Scheme {
    pub(crate) const ALL: [Self; 3] = [Self::Jwe, Self::Pkcs7, Self::Pgp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jwe => "jwe",
            Self::Pkcs7 => "pkcs7",
            Self::Pgp => "pgp",
        }
    }

    pub(crate) fn annotation(self) -> String {
        format!("{KEYS}{}", self.name())
    }
}

/// Returns the text of the public options.
pub(crate) fn public_options(annotations: &BTreeMap<String, String>) -> Result<&str> {
    let text = annotations.get(PUBLIC_OPTIONS).filter(|text| !text.is_empty());
    text.map(String::as_str).ok_or_else(|| Error::annotations(format!("{PUBLIC_OPTIONS} is missing")))
}

/// Returns the wrapped keys of one form.
pub(crate) fn wrapped_keys(annotations: &BTreeMap<String, String>, scheme: Scheme) -> Result<Vec<Vec<u8>>> {
    let name = scheme.annotation();
    let Some(text) = annotations.get(&name).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    at_most(text.len(), ANNOTATION_LIMIT, "ANNOTATION_LIMIT", "an annotation with encrypted keys")?;
    at_most(text.split(',').count(), WRAPPED_KEYS, "WRAPPED_KEYS", "the number of encrypted keys of a layer")?;
    let malformed = || Error::annotations(format!("{name} is not base64"));
    text.split(',').map(|key| standard(key).ok_or_else(malformed)).collect()
}

/// Returns the annotations of a layer, from its public options and wrapped keys in base64.
pub(crate) fn write(public_options: String, keys: Vec<(Scheme, String)>) -> BTreeMap<String, String> {
    let keys = keys.into_iter().map(|(scheme, key)| (scheme.annotation(), key));
    keys.chain([(PUBLIC_OPTIONS.to_owned(), public_options)]).collect()
}
