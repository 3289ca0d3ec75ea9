//! Signatures as they are stored beside an image, and the bytes of one in a file.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use vmroot_model::Digest;

/// The media type of a sigstore attachment that holds a signature. Attachments of other types are carried along.
pub const SIGSTORE_SIGNATURE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The largest signature in bytes, as stored.
pub const SIGNATURE_LIMIT: usize = 4 << 20;

const SIGSTORE_FORMAT: &str = "sigstore-json";
const SIMPLE_FORMAT: &str = "simple-signing";

/// A signature of an image in one of the forms of containers/image. Its contents are not verified.
///
/// A judge decides on each form, so a new form breaks the build of judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// An OpenPGP signed message around a payload.
    Simple(Vec<u8>),
    /// A layer of a sigstore attachment (`sha256-HEX.sig`).
    Sigstore {
        /// The media type of the layer; [`SIGSTORE_SIGNATURE_TYPE`] for a signature.
        mime_type: String,
        /// The bytes of the layer.
        payload: Vec<u8>,
        /// The annotations of the layer's descriptor, which hold the signature itself.
        annotations: BTreeMap<String, String>,
    },
    /// A stored signature of no known form. It is carried along and satisfies no requirement.
    Unreadable {
        /// The stored bytes.
        stored: Vec<u8>,
        /// Why they cannot be read.
        reason: String,
    },
}

/// A sigstore bundle that refers to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// The digest of the manifest that has the bundle as its layer.
    pub manifest: Digest,
    /// The bytes of the bundle, in JSON.
    pub bytes: Vec<u8>,
}

/// A sigstore signature in a file: JSON after the name of the format.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredSigstore {
    mime_type: String,
    payload: String,
    /// Go writes an empty map as null.
    annotations: Option<BTreeMap<String, String>>,
}

impl Signature {
    /// Reads the bytes of a file `signature-N`: an OpenPGP message, or `\0`, the name of a format, `\n` and data.
    ///
    /// Bytes of another form give [`Signature::Unreadable`], so that one of them does not hide the others.
    pub fn from_stored(stored: &[u8]) -> Self {
        Self::read(stored).unwrap_or_else(|reason| Self::Unreadable { stored: stored.to_owned(), reason })
    }

    fn read(stored: &[u8]) -> Result<Self, String> {
        if stored.len() > SIGNATURE_LIMIT {
            return Err(format!("has more than {SIGNATURE_LIMIT} bytes"));
        }
        let Some(&first) = stored.first() else { return Err("is empty".to_owned()) };
        if first != 0 {
            return match starts_signed_message(first) {
                true => Ok(Self::Simple(stored.to_owned())),
                false => Err(format!("starts with the byte {first:#04x}, which no known form has")),
            };
        }
        let end = stored.iter().position(|&byte| byte == b'\n').ok_or("the name of its format does not end")?;
        let (format, data) = (&stored[1..end], &stored[end + 1..]);
        match std::str::from_utf8(format) {
            Ok(SIMPLE_FORMAT) => Ok(Self::Simple(data.to_owned())),
            Ok(SIGSTORE_FORMAT) => sigstore_from_json(data),
            _ => Err(format!("its format {:?} is not known", String::from_utf8_lossy(&format[..format.len().min(64)]))),
        }
    }

    /// Returns the bytes for a file `signature-N`.
    pub fn to_stored(&self) -> Vec<u8> {
        match self {
            Self::Simple(message) if message.first().copied().is_some_and(starts_signed_message) => message.clone(),
            Self::Simple(message) => [b"\0", SIMPLE_FORMAT.as_bytes(), b"\n", message].concat(),
            Self::Sigstore { mime_type, payload, annotations } => {
                let json = StoredSigstore {
                    mime_type: mime_type.clone(),
                    payload: BASE64.encode(payload),
                    annotations: Some(annotations.clone()),
                };
                let json = serde_json::to_vec(&json).unwrap_or_default();
                [b"\0", SIGSTORE_FORMAT.as_bytes(), b"\n", &json].concat()
            }
            Self::Unreadable { stored, .. } => stored.clone(),
        }
    }
}

/// Returns whether a byte is the tag of a packet that starts a signed message: compressed data (8), one-pass signature
/// (4) or signature (2), in either format of RFC 9580, section 4.2.
fn starts_signed_message(byte: u8) -> bool {
    let tag = match byte {
        0x80..=0xbf => (byte >> 2) & 0xf,
        0xc0..=0xff => byte & 0x3f,
        _ => return false,
    };
    matches!(tag, 2 | 4 | 8)
}

fn sigstore_from_json(data: &[u8]) -> Result<Signature, String> {
    let json: StoredSigstore = serde_json::from_slice(data).map_err(|error| format!("its JSON is invalid: {error}"))?;
    let payload = BASE64.decode(&json.payload).map_err(|error| format!("its payload is not base64: {error}"))?;
    Ok(Signature::Sigstore { mime_type: json.mime_type, payload, annotations: json.annotations.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_signatures_are_read_back() {
        let sigstore = Signature::Sigstore {
            mime_type: SIGSTORE_SIGNATURE_TYPE.to_owned(),
            payload: b"{}".to_vec(),
            annotations: [("k".to_owned(), "v".to_owned())].into(),
        };
        let plain = Signature::Simple(vec![0xa3, 1, 2]);
        let named = Signature::Simple(b"other".to_vec());
        for signature in [&sigstore, &plain, &named] {
            assert_eq!(Signature::from_stored(&signature.to_stored()), *signature);
        }
        assert_eq!(plain.to_stored(), [0xa3, 1, 2]);
        let json = br#"{"mimeType":"application/vnd.dev.cosign.simplesigning.v1+json","payload":"e30=","annotations":{"k":"v"}}"#;
        assert_eq!(sigstore.to_stored(), [&b"\0sigstore-json\n"[..], json].concat());
    }

    #[test]
    fn unknown_forms_are_kept_with_their_reason() {
        for (stored, wanted) in [
            (&b""[..], "is empty"),
            (b"\0", "does not end"),
            (b"\0x\ny", "format \"x\" is not known"),
            (b"\0sigstore-json\n{", "JSON is invalid"),
            (b"hello", "byte 0x68"),
            (b"\x99key", "byte 0x99"),
        ] {
            let signature = Signature::from_stored(stored);
            assert_eq!(signature.to_stored(), stored);
            let Signature::Unreadable { reason, .. } = signature else { panic!("{signature:?}") };
            assert!(reason.contains(wanted), "{reason}");
        }
    }
}
