//! JSON web signatures in the "pretty" form of libtrust: a JSON object with the member `signatures` at its end.
//!
//! Each signature has a protected header with `formatLength` and `formatTail`. The signed bytes are the first
//! `formatLength` bytes of the file, followed by `formatTail`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::DocumentKind;
use crate::json_text::to_vec;
use crate::{Digest, Error, Result, json};

/// The start of a P-256 public key in DER (RFC 5480): the type of key, and the header of the point.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The length of a fingerprint in bytes, before its encoding.
const FINGERPRINT: usize = 30;
/// The length of a coordinate of a P-256 point in bytes.
const COORDINATE: usize = 32;

/// The members that decide whether a document is signed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed<'a> {
    #[serde(default)]
    schema_version: Option<i64>,
    #[serde(borrow, default)]
    signatures: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Signatures(#[serde(deserialize_with = "json::limited_list")] Vec<Signature>);

#[derive(Deserialize)]
struct Signature {
    protected: String,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// Returns the signed bytes of a schema 1 manifest, or `None` for a document without signatures and for other formats.
///
/// # Errors
/// [`Error::InvalidDocument`] for signatures without their bounds, or with different ones.
pub(super) fn payload(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    // Other documents are parsed elsewhere, with their errors.
    let Ok(document) = serde_json::from_slice::<Signed<'_>>(bytes) else { return Ok(None) };
    let (Some(1), Some(signatures)) = (document.schema_version, document.signatures) else { return Ok(None) };
    let invalid = |reason: String| Error::InvalidDocument {
        document: DocumentKind::Manifest,
        digest: Digest::of(bytes),
        reason: format!("signatures: {reason}"),
    };
    let Signatures(signatures) = serde_json::from_str(signatures.get()).map_err(|it| invalid(it.to_string()))?;
    let mut bounds: Option<Protected> = None;
    for signature in signatures {
        let protected = decode(&signature.protected).map_err(invalid)?;
        let protected: Protected = serde_json::from_slice(&protected).map_err(|it| invalid(it.to_string()))?;
        if bounds.as_ref().is_some_and(|it| *it != protected) {
            return Err(invalid("they are of different bytes".to_owned()));
        }
        bounds = Some(protected);
    }
    let Protected { format_length, format_tail } = bounds.ok_or_else(|| invalid("the list is empty".to_owned()))?;
    let head = bytes.get(..format_length);
    let head = head.ok_or_else(|| invalid(format!("formatLength {format_length} is past the end")))?;
    Ok(Some([head, &decode(&format_tail).map_err(invalid)?].concat()))
}

/// Decodes base64url. Spaces and line feeds are ignored, and padding is optional, as in libtrust.
fn decode(text: &str) -> std::result::Result<Vec<u8>, String> {
    let text: String = text.chars().filter(|it| !matches!(it, ' ' | '\n')).collect();
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct NewSignature {
    header: Header,
    signature: String,
    protected: String,
}

#[derive(Serialize)]
struct Header {
    jwk: Jwk,
    alg: &'static str,
}

#[derive(Serialize)]
struct Jwk {
    crv: &'static str,
    kid: String,
    kty: &'static str,
    x: String,
    y: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewProtected {
    format_length: usize,
    format_tail: String,
}

/// Signs a JSON object with a new key, which is not kept. Registries refuse schema 1 without a signature, of any key.
///
/// # Errors
/// [`Error::Signing`] if the system has no random numbers.
pub(crate) fn sign(object: &[u8]) -> Result<Vec<u8>> {
    let head = object.strip_suffix(b"}").expect("the object was written without whitespace");
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| Error::Signing)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random);
    let key = key.map_err(|_| Error::Signing)?;
    let protected = NewProtected { format_length: head.len(), format_tail: URL_SAFE_NO_PAD.encode("}") };
    let protected = URL_SAFE_NO_PAD.encode(to_vec(&protected));
    let message = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(object));
    let signature = key.sign(&random, message.as_bytes()).map_err(|_| Error::Signing)?;
    let signatures = [NewSignature {
        header: Header { jwk: Jwk::new(key.public_key().as_ref()), alg: "ES256" },
        signature: URL_SAFE_NO_PAD.encode(signature.as_ref()),
        protected,
    }];
    Ok([head, b",\"signatures\":", &to_vec(&signatures), b"}"].concat())
}

impl Jwk {
    /// Creates the JSON web key of a P-256 point in its uncompressed form: a byte and two coordinates.
    fn new(point: &[u8]) -> Self {
        let (x, y) = point[1..].split_at(COORDINATE);
        Self {
            crv: "P-256",
            kid: fingerprint(&[&P256_PREFIX, point].concat()),
            kty: "EC",
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        }
    }
}

/// Returns libtrust's fingerprint of a public key in DER: the first bytes of its SHA-256 in base32 (RFC 4648), in groups
/// of four digits.
fn fingerprint(der: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Digest::of(der);
    let mut text = String::new();
    // Five bytes are eight digits, two groups.
    for chunk in digest.as_bytes()[..FINGERPRINT].chunks(5) {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for digit in 0..8 {
            if digit % 4 == 0 && !text.is_empty() {
                text.push(':');
            }
            text.push(char::from(DIGITS[(bits >> (35 - 5 * digit) & 31) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_signed_object_has_its_bytes_as_payload() {
        let object = br#"{"schemaVersion":1,"a":"}"}"#;
        let signed = sign(object).unwrap();
        assert_eq!(payload(&signed).unwrap().unwrap(), object);
        assert_eq!(payload(object).unwrap(), None);

        let document: Value = serde_json::from_slice(&signed).unwrap();
        let signature = &document["signatures"][0];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let bytes = |value: &Value| decode(&text(value)).unwrap();
        let jwk = &signature["header"]["jwk"];
        let point = [vec![4], bytes(&jwk["x"]), bytes(&jwk["y"])].concat();
        let message = format!("{}.{}", text(&signature["protected"]), URL_SAFE_NO_PAD.encode(object));
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(message.as_bytes(), &bytes(&signature["signature"])).unwrap();
        assert_eq!(text(&jwk["kid"]).split(':').map(str::len).collect::<Vec<_>>(), [4; 12]);
    }

    #[test]
    fn invalid_signatures_are_errors() {
        let protected = |json: &str| format!(r#"{{"protected":"{}"}}"#, URL_SAFE_NO_PAD.encode(json));
        let good = protected(r#"{"formatLength":1,"formatTail":"fQ"}"#);
        for (signatures, reason) in [
            ("[]".to_owned(), "the list is empty"),
            ("{}".to_owned(), "expected a list"),
            ("[{}]".to_owned(), "missing field"),
            (r#"[{"protected":"!"}]"#.to_owned(), "Invalid"),
            (format!("[{}]", protected("{}")), "missing field"),
            (format!("[{}]", protected(r#"{"formatLength":-1,"formatTail":"fQ"}"#)), "invalid value"),
            (format!("[{}]", protected(r#"{"formatLength":4000,"formatTail":"fQ"}"#)), "past the end"),
            (format!("[{good},{}]", protected(r#"{"formatLength":2,"formatTail":"fQ"}"#)), "different bytes"),
        ] {
            let document = format!(r#"{{"schemaVersion":1,"signatures":{signatures}}}"#);
            let error = payload(document.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{signatures}: {error}");
        }
        for unsigned in [r#"{"schemaVersion":1,"signatures":null}"#, r#"{"schemaVersion":2,"signatures":[]}"#, "x"] {
            assert_eq!(payload(unsigned.as_bytes()).unwrap(), None);
        }
    }

    #[test]
    fn the_fingerprint_is_that_of_libtrust() {
        // Computed with Python's hashlib and base64.b32encode.
        let point = [&[4][..], &[1; 32], &[2; 32]].concat();
        assert_eq!(
            fingerprint(&[&P256_PREFIX[..], &point].concat()),
            "Q3TB:C74N:KJV7:E23Q:OW5B:D7MV:3VKW:FMHO:MBHW:Z6BH:DKCS:6U3N"
        );
    }
}
