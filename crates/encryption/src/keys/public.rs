//! Public keys of files.

use rsa::RsaPublicKey;

use super::{EcPublicKey, OID_EC, OID_RSA, elliptic, jwk, pem, rsa_key};
use crate::asn1::{OID, Reader, SEQUENCE, malformed};
use crate::limits::{KEY_FILE_LIMIT, at_most};
use crate::{Error, Result};

/// A public key.
#[derive(Clone)]
pub(crate) enum PublicKey {
    Rsa(RsaPublicKey),
    Ec(EcPublicKey),
}

/// Reads a public key: a `SubjectPublicKeyInfo` (RFC 5280, section 4.1) in DER or PEM, or a JWK. Returns the algorithm
/// that a JWK states, too.
///
/// # Errors
/// - [`Error::Key`]: the bytes are no such key, or one of another algorithm.
/// - [`Error::Limit`]
pub(crate) fn read_public(bytes: &[u8]) -> Result<(PublicKey, Option<String>)> {
    at_most(bytes.len(), KEY_FILE_LIMIT, "KEY_FILE_LIMIT", "a file with a key")?;
    if let Some(block) = pem::first_block(bytes, |_| true) {
        return match block.label.as_str() {
            "PUBLIC KEY" => Ok((from_spki(&block.bytes)?, None)),
            "RSA PUBLIC KEY" => Ok((PublicKey::Rsa(rsa_key::read_public(&block.bytes)?), None)),
            "CERTIFICATE" => Err(Error::key("it is a certificate, which pkcs7: takes, and jwe: takes a public key")),
            label => Err(Error::key(format!("its PEM label is {label:?}, not PUBLIC KEY"))),
        };
    }
    match jwk::is_json(bytes) {
        true => jwk::read_public(bytes),
        false => Ok((from_spki(bytes).map_err(|_| not_a_key())?, None)),
    }
}

/// Reads a `SubjectPublicKeyInfo`.
pub(super) fn from_spki(der: &[u8]) -> Result<PublicKey> {
    let mut fields = Reader::new(der).inside(SEQUENCE)?;
    let mut algorithm = fields.inside(SEQUENCE)?;
    let oid = algorithm.content(OID)?;
    let bits = elliptic::bit_string(&mut fields)?;
    if !fields.is_empty() {
        return Err(malformed());
    }
    match oid {
        OID_RSA => Ok(PublicKey::Rsa(rsa_key::read_public(bits)?)),
        OID_EC => Ok(PublicKey::Ec(elliptic::read_public(&mut algorithm, bits)?)),
        _ => Err(Error::key("its algorithm is not supported; RSA, P-256, P-384 and P-521 are")),
    }
}

fn not_a_key() -> Error {
    Error::key("it is no public key: neither PEM, nor DER, nor a JSON Web Key")
}
