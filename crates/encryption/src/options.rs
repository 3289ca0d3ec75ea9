//! The options of a layer's cipher: public ones in an annotation, and private ones in the wrapped keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::encoding::{base64_bytes, standard, to_standard};
use crate::limits::{LAYER_OPTIONS_LIMIT, at_most};
use crate::{Error, Result};

/// The only cipher of layers.
pub(crate) const CIPHER: &str = "AES_256_CTR_HMAC_SHA256";

const NONCE: &str = "nonce";
pub(crate) const KEY_LENGTH: usize = 32;
pub(crate) const NONCE_LENGTH: usize = 16;
pub(crate) const HMAC_LENGTH: usize = 32;

/// The public options (ocicrypt, blockcipher.go, `PublicLayerBlockCipherOptions`).
#[derive(Serialize, Deserialize)]
struct Public {
    #[serde(default)]
    cipher: String,
    #[serde(default, with = "base64_bytes")]
    hmac: Vec<u8>,
    #[serde(default, rename = "cipheroptions", deserialize_with = "null_as_default")]
    options: BTreeMap<String, String>,
}

/// The private options (ocicrypt, blockcipher.go, `PrivateLayerBlockCipherOptions`).
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Private {
    #[serde(default, with = "base64_bytes")]
    symkey: Vec<u8>,
    /// The digest of the compressed layer. Readers ignore it, because the layer's diff id says more.
    #[serde(default)]
    #[zeroize(skip)]
    digest: String,
    #[serde(default, rename = "cipheroptions", deserialize_with = "null_as_default")]
    #[zeroize(skip)]
    options: BTreeMap<String, String>,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Returns the HMAC of the public options, which are in base64.
///
/// # Errors
/// - [`Error::UnknownCipher`]
/// - [`Error::Annotations`]: the options are malformed, or without an HMAC of 32 bytes. A nonce among them is an error,
///   too, because the HMAC does not cover it.
pub(crate) fn read_public(text: &str) -> Result<[u8; HMAC_LENGTH]> {
    at_most(text.len(), LAYER_OPTIONS_LIMIT, "LAYER_OPTIONS_LIMIT", "the public options of the layer")?;
    let malformed = |reason: &str| Error::annotations(format!("the public options are malformed: {reason}"));
    let json = standard(text).ok_or_else(|| malformed("they are not base64"))?;
    let public: Public = serde_json::from_slice(&json).map_err(|error| malformed(&error.to_string()))?;
    if public.cipher != CIPHER {
        return Err(match public.cipher.is_empty() {
            true => malformed("they name no cipher"),
            false => Error::UnknownCipher { cipher: public.cipher.chars().take(64).collect() },
        });
    }
    if public.options.contains_key(NONCE) {
        return Err(malformed("they have a nonce, which belongs to the encrypted options"));
    }
    let length = public.hmac.len();
    <[u8; HMAC_LENGTH]>::try_from(public.hmac)
        .map_err(|_| malformed(&format!("their HMAC has {length} bytes, not {HMAC_LENGTH}")))
}

pub(crate) fn write_public(hmac: &[u8; HMAC_LENGTH]) -> String {
    let public = Public { cipher: CIPHER.to_owned(), hmac: hmac.to_vec(), options: BTreeMap::new() };
    to_standard(&serde_json::to_vec(&public).expect("the options have no keys but strings"))
}

/// Returns the key and the nonce of private options, which are JSON.
///
/// # Errors
/// [`Error::Annotations`]: the options are malformed, or their key or nonce has a wrong length.
pub(crate) fn read_private(json: &[u8]) -> Result<(Zeroizing<[u8; KEY_LENGTH]>, [u8; NONCE_LENGTH])> {
    // An error of the parser could repeat a part of the key.
    let malformed = |reason: &str| Error::annotations(format!("the encrypted options {reason}"));
    let private: Private = serde_json::from_slice(json).map_err(|_| malformed("are malformed"))?;
    let key = <[u8; KEY_LENGTH]>::try_from(private.symkey.as_slice())
        .map_err(|_| malformed(&format!("have a key of {} bytes, not {KEY_LENGTH}", private.symkey.len())))?;
    let nonce = private.options.get(NONCE).ok_or_else(|| malformed("have no nonce"))?;
    let nonce = standard(nonce).ok_or_else(|| malformed("have a nonce that is not base64"))?;
    let length = nonce.len();
    let nonce = <[u8; NONCE_LENGTH]>::try_from(nonce)
        .map_err(|_| malformed(&format!("have a nonce of {length} bytes, not {NONCE_LENGTH}")))?;
    Ok((Zeroizing::new(key), nonce))
}

pub(crate) fn write_private(key: &[u8; KEY_LENGTH], nonce: &[u8; NONCE_LENGTH], digest: &str) -> Zeroizing<Vec<u8>> {
    let options = BTreeMap::from([(NONCE.to_owned(), to_standard(nonce))]);
    let private = Private { symkey: key.to_vec(), digest: digest.to_owned(), options };
    Zeroizing::new(serde_json::to_vec(&private).expect("the options have no keys but strings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back() {
        assert_eq!(read_public(&write_public(&[7; 32])).unwrap(), [7; 32]);
        let (key, nonce) = read_private(&write_private(&[1; 32], &[2; 16], "sha256:00")).unwrap();
        assert_eq!((*key, nonce), ([1; 32], [2; 16]));
    }

    #[test]
    fn options_of_ocicrypt_are_read() {
        let private = br#"{"symkey":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","digest":"sha256:00","cipheroptions":{"nonce":"AgICAgICAgICAgICAgICAg=="}}"#;
        let (key, nonce) = read_private(private).unwrap();
        assert_eq!((*key, nonce), ([1; 32], [2; 16]));
        assert_eq!(write_private(&key, &nonce, "sha256:00").as_slice(), private);
    }

    #[test]
    fn wrong_public_options_are_errors() {
        let long = format!(r#"{{"cipher":"{CIPHER}","hmac":"AAAA"}}"#);
        let nonce = write_public(&[7; 32]);
        let nonce = String::from_utf8(standard(&nonce).unwrap()).unwrap().replace("{}", r#"{"nonce":"AA=="}"#);
        for (json, expected) in [
            ("{}", "name no cipher"),
            (r#"{"cipher":"AES_128","hmac":"AAAA"}"#, "unknown cipher \"AES_128\""),
            (&*long, "HMAC has 3 bytes"),
            (&*format!(r#"{{"cipher":"{CIPHER}"}}"#), "HMAC has 0 bytes"),
            (&*format!(r#"{{"cipher":"{CIPHER}","hmac":null}}"#), "HMAC has 0 bytes"),
            (&*format!(r#"{{"cipher":"{CIPHER}","hmac":"?"}}"#), "not base64"),
            (&*nonce, "have a nonce"),
            ("[]", "malformed"),
        ] {
            let error = read_public(&to_standard(json.as_bytes())).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        assert!(read_public("!").unwrap_err().to_string().contains("not base64"));
        assert!(read_public("").is_err());
    }

    #[test]
    fn wrong_private_options_are_errors() {
        for (json, expected) in [
            ("", "malformed"),
            ("{}", "key of 0 bytes"),
            (r#"{"symkey":"AAAA"}"#, "key of 3 bytes"),
            (r#"{"symkey":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}"#, "no nonce"),
            (
                r#"{"symkey":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","cipheroptions":{"nonce":"AA=="}}"#,
                "nonce of 1 bytes",
            ),
        ] {
            let error = read_private(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
