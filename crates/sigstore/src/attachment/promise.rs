//! The promise of a Rekor log to include a signature: a signed entry timestamp (SET).

use serde_json::{Value, json};
use sha2_of_keys::{Digest as _, Sha256};

use super::ANNOTATION_LIMIT;
use crate::encoding::{either, pem_block, standard, to_hex};
use crate::error::{Error, Result};
use crate::keys::{KeyKind, PublicKey};
use crate::strict_json;

/// The signature that a log must have received.
pub(crate) struct Signed<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// The DER of the key or certificate.
    pub(crate) material: &'a [u8],
}

/// Verifies the JSON of a promise, and returns the time in it, in seconds since 1970.
pub(super) fn verify(text: &str, rekor: &[PublicKey], signed: &Signed<'_>) -> Result<i64> {
    let mut document = strict_json::parse_object(text.as_bytes(), "promise of the log", ANNOTATION_LIMIT)?;
    let timestamp = standard(&document.string("SignedEntryTimestamp")?, "promise of the log")?;
    let mut payload = document.object("Payload")?;
    document.finish()?;
    let entry = Entry {
        body: payload.string("body")?,
        integrated_time: payload.integer("integratedTime")?,
        log_index: payload.integer("logIndex")?,
        log_id: payload.string("logID")?,
    };
    payload.finish()?;
    if !rekor.iter().any(|key| entry.is_signed_by(key, &timestamp)) {
        return Err(Error::Log("no accepted key of a log verifies its promise".to_owned()));
    }
    let body = standard(&entry.body, "body of the log's entry")?;
    expect_hashedrekord(&body, signed)?;
    Ok(entry.integrated_time)
}

/// The part of an entry that a log signs.
pub(crate) struct Entry {
    /// The body in base64.
    pub(crate) body: String,
    /// Seconds since 1970.
    pub(crate) integrated_time: i64,
    pub(crate) log_index: i64,
    /// The log's identity, as hexadecimal digits.
    pub(crate) log_id: String,
}

impl Entry {
    /// Returns whether the log's key signed the canonical JSON (RFC 8785) of the entry.
    pub(crate) fn is_signed_by(&self, key: &PublicKey, signature: &[u8]) -> bool {
        let value = json!({
            "body": self.body,
            "integratedTime": self.integrated_time,
            "logIndex": self.log_index,
            "logID": self.log_id,
        });
        let is_usable = matches!(key.kind(), KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::Ed25519);
        is_usable && serde_json_canonicalizer::to_vec(&value).is_ok_and(|bytes| key.verify(&bytes, signature))
    }
}

/// Checks that the body of an entry is a `hashedrekord` 0.0.1 of the signature.
pub(crate) fn expect_hashedrekord(body: &[u8], signed: &Signed<'_>) -> Result<()> {
    let entry = strict_json::parse(body, "body of the log's entry", ANNOTATION_LIMIT)?;
    if entry["kind"] != "hashedrekord" || entry["apiVersion"] != "0.0.1" {
        return Err(Error::Log("its entry is not a hashedrekord 0.0.1".to_owned()));
    }
    let hash = &entry["spec"]["data"]["hash"];
    if hash["algorithm"] != "sha256" {
        return Err(Error::Log("its entry has another hash than SHA-256".to_owned()));
    }
    let digest = to_hex(&Sha256::digest(signed.payload));
    if !text(&hash["value"])?.eq_ignore_ascii_case(&digest) {
        return Err(Error::Log("its entry is for another payload".to_owned()));
    }
    expect_signature(&entry["spec"]["signature"], signed)
}

/// Checks the signature and the key or certificate of an entry.
pub(crate) fn expect_signature(found: &Value, signed: &Signed<'_>) -> Result<()> {
    if either(text(&found["content"])?, "signature of the log's entry")? != signed.signature {
        return Err(Error::Log("its entry is for another signature".to_owned()));
    }
    let material = standard(text(&found["publicKey"]["content"])?, "key of the log's entry")?;
    if pem_block(&material, "key of the log's entry")?.bytes != signed.material {
        return Err(Error::Log("its entry is for another key or certificate".to_owned()));
    }
    Ok(())
}

pub(crate) fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| Error::Log("its entry lacks a text".to_owned()))
}
