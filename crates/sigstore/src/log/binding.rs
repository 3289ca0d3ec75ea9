//! Compares an entry of a log with the signature that it must be about.
//!
//! An entry that is valid, but of another signature, artifact or key, proves nothing (CVE-2022-23649, CVE-2026-22703).

use serde_json::Value;
use sha2_of_keys::{Digest as _, Sha256};

use super::LogEntry;
use crate::attachment::promise::{Signed, expect_hashedrekord, text};
use crate::encoding::{either, pem_block, standard, to_hex};
use crate::error::{Error, Result};
use crate::keys::Hash;

/// The signature of a bundle.
pub(crate) struct Logged<'a> {
    /// The signed bytes: a message, or the encoding of an envelope.
    pub(crate) message: &'a [u8],
    /// The payload of an envelope.
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) signature: &'a [u8],
}

/// Checks that the entry is about this signature, and the key or certificate whose DER is `material`.
pub(crate) fn expect_bound(entry: &LogEntry, logged: &Logged<'_>, material: &[u8]) -> Result<()> {
    let body = entry.parsed_body()?;
    match (entry.kind.as_str(), entry.version.as_str(), logged.payload) {
        ("hashedrekord", "0.0.1", _) => {
            let signed = Signed { payload: logged.message, signature: logged.signature, material };
            expect_hashedrekord(&entry.body, &signed)
        }
        ("hashedrekord", "0.0.2", _) => hashedrekord_2(&body["spec"]["hashedRekordV002"], logged, material),
        ("dsse", "0.0.1", Some(payload)) => {
            expect_digest(&body["spec"]["payloadHash"], payload)?;
            let signature = only(&body["spec"]["signatures"])?;
            expect_signature(&either(text(&signature["signature"])?, "signature of the log's entry")?, logged)?;
            expect_pem(&signature["verifier"], material)
        }
        ("intoto", "0.0.2", Some(payload)) => {
            let content = &body["spec"]["content"];
            expect_digest(&content["payloadHash"], payload)?;
            let signature = only(&content["envelope"]["signatures"])?;
            // The signature is encoded twice.
            let once = either(text(&signature["sig"])?, "signature of the log's entry")?;
            let once =
                String::from_utf8(once).map_err(|error| Error::malformed("signature of the log's entry", error))?;
            expect_signature(&either(&once, "signature of the log's entry")?, logged)?;
            expect_pem(&signature["publicKey"], material)
        }
        (kind, version, _) => Err(Error::Log(format!("its entry of kind {kind:.40} {version:.40} is not supported"))),
    }
}

fn hashedrekord_2(record: &Value, logged: &Logged<'_>, material: &[u8]) -> Result<()> {
    let hash = match text(&record["data"]["algorithm"])? {
        "SHA2_256" => Hash::Sha256,
        "SHA2_384" => Hash::Sha384,
        "SHA2_512" => Hash::Sha512,
        _ => return Err(Error::Log("its entry has an unknown hash".to_owned())),
    };
    if either(text(&record["data"]["digest"])?, "digest of the log's entry")? != hash.of(logged.message) {
        return Err(Error::Log("its entry is for another artifact".to_owned()));
    }
    let signature = &record["signature"];
    expect_signature(&either(text(&signature["content"])?, "signature of the log's entry")?, logged)?;
    let verifier = &signature["verifier"];
    let found = match (verifier.get("x509Certificate"), verifier.get("publicKey")) {
        (Some(found), None) | (None, Some(found)) => either(text(&found["rawBytes"])?, "key of the log's entry")?,
        _ => return Err(Error::Log("its entry has not exactly one of a key and a certificate".to_owned())),
    };
    expect_material(&found, material)
}

fn only(signatures: &Value) -> Result<&Value> {
    match signatures.as_array().map(Vec::as_slice) {
        Some([signature]) => Ok(signature),
        _ => Err(Error::Log("its entry has not exactly one signature".to_owned())),
    }
}

fn expect_digest(hash: &Value, payload: &[u8]) -> Result<()> {
    let is_equal = text(&hash["value"])?.eq_ignore_ascii_case(&to_hex(&Sha256::digest(payload)));
    if hash["algorithm"] == "sha256" && is_equal {
        return Ok(());
    }
    Err(Error::Log("its entry is for another payload".to_owned()))
}

fn expect_signature(found: &[u8], logged: &Logged<'_>) -> Result<()> {
    if found == logged.signature { Ok(()) } else { Err(Error::Log("its entry is for another signature".to_owned())) }
}

fn expect_pem(found: &Value, material: &[u8]) -> Result<()> {
    let pem = standard(text(found)?, "key of the log's entry")?;
    expect_material(&pem_block(&pem, "key of the log's entry")?.bytes, material)
}

fn expect_material(found: &[u8], material: &[u8]) -> Result<()> {
    if found == material {
        return Ok(());
    }
    Err(Error::Log("its entry is for another key or certificate".to_owned()))
}
