//! Base64, and random bytes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::rand_core::{OsRng, RngCore as _};
use serde::{Deserialize, Deserializer, Serializer, de};

pub(crate) fn standard(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn to_standard(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes base64url, whose padding is optional (RFC 7515, section 2).
pub(crate) fn url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

pub(crate) fn to_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns random bytes of the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// Bytes that are standard base64 in JSON, as Go writes them.
pub(crate) mod base64_bytes {
    use super::{Deserialize, Deserializer, Serializer, de, standard, to_standard};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_standard(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        standard(&text.unwrap_or_default()).ok_or_else(|| de::Error::custom("it is not base64"))
    }
}
