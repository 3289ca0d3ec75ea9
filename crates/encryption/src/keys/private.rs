//! Private keys of files.

use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use rsa::RsaPrivateKey;
use zeroize::Zeroizing;

use super::{Curve, EcSecretKey, OID_EC, OID_RSA, jwk, legacy_pem, pem, rsa_key};
use crate::asn1::{OCTET_STRING, OID, Reader, SEQUENCE};
use crate::limits::{KEY_DERIVATION_MEMORY, KEY_DERIVATION_ROUNDS, KEY_FILE_LIMIT, at_most};
use crate::{Error, Result};

/// A private key.
pub(crate) enum PrivateKey {
    Rsa(Box<RsaPrivateKey>),
    Ec(EcSecretKey),
}

/// Reads a private key: PKCS #8 (RFC 5958), PKCS #1 or SEC 1 in DER or PEM, or a JWK. PKCS #8 and PEM may be encrypted.
///
/// # Errors
/// - [`Error::Key`]: the bytes are no such key, or one of another algorithm.
/// - [`Error::PasswordMissing`], [`Error::PasswordWrong`]
/// - [`Error::Limit`]
pub(crate) fn read_private(bytes: &[u8], password: Option<&[u8]>) -> Result<PrivateKey> {
    at_most(bytes.len(), KEY_FILE_LIMIT, "KEY_FILE_LIMIT", "a file with a key")?;
    if let Some(block) = pem::first_block(bytes, |label| label.ends_with("PRIVATE KEY")) {
        let is_encrypted = legacy_pem::is_encrypted(&block);
        let der = if is_encrypted { legacy_pem::decrypt(&block, password)? } else { block.bytes };
        return from_der(&der, password).map_err(|error| match error {
            Error::Key { .. } if is_encrypted => Error::PasswordWrong,
            error => error,
        });
    }
    match jwk::is_json(bytes) {
        true => jwk::read_private(bytes),
        false => from_der(bytes, password),
    }
}

/// Reads a key in any of its forms in DER, which its first elements tell apart.
fn from_der(der: &[u8], password: Option<&[u8]>) -> Result<PrivateKey> {
    const VERSION: u8 = crate::asn1::INTEGER;
    let mut outer = Reader::new(der);
    let mut fields = outer.inside(SEQUENCE)?;
    if !outer.is_empty() {
        return Err(crate::asn1::malformed());
    }
    match fields.peek() {
        Some(SEQUENCE) => from_encrypted(der, password),
        Some(VERSION) => {
            fields.any()?;
            match fields.peek() {
                Some(SEQUENCE) => from_pkcs8(fields),
                Some(OCTET_STRING) => Ok(PrivateKey::Ec(EcSecretKey::read(der, None)?)),
                _ => Ok(PrivateKey::Rsa(Box::new(rsa_key::read_private(der)?))),
            }
        }
        _ => Err(crate::asn1::malformed()),
    }
}

/// Reads the fields of PKCS #8 after its version.
fn from_pkcs8(mut fields: Reader<'_>) -> Result<PrivateKey> {
    let mut algorithm = fields.inside(SEQUENCE)?;
    let oid = algorithm.content(OID)?;
    let key = fields.content(OCTET_STRING)?;
    match oid {
        OID_RSA => Ok(PrivateKey::Rsa(Box::new(rsa_key::read_private(key)?))),
        OID_EC => {
            let curve = Curve::of_oid(algorithm.content(OID)?)?;
            Ok(PrivateKey::Ec(EcSecretKey::read(key, Some(curve))?))
        }
        _ => Err(Error::key("its algorithm is not supported; RSA, P-256, P-384 and P-521 are")),
    }
}

fn from_encrypted(der: &[u8], password: Option<&[u8]>) -> Result<PrivateKey> {
    let unsupported = || Error::key("it is encrypted in a way that is not supported; PBES2 with AES or 3DES is");
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(|_| unsupported())?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else { return Err(unsupported()) };
    check_cost(&parameters.kdf)?;
    let password = password.ok_or(Error::PasswordMissing)?;
    let plain = parameters.decrypt(password, info.encrypted_data).map_err(|_| Error::PasswordWrong)?;
    let plain = Zeroizing::new(plain);
    let mut fields = Reader::new(&plain).inside(SEQUENCE).map_err(|_| Error::PasswordWrong)?;
    fields.any().map_err(|_| Error::PasswordWrong)?;
    from_pkcs8(fields)
}

/// Checks the time and the memory that the derivation of a key takes.
fn check_cost(kdf: &Kdf<'_>) -> Result<()> {
    let (rounds, memory) = match kdf {
        Kdf::Pbkdf2(parameters) => (parameters.iteration_count, 0),
        Kdf::Scrypt(parameters) => {
            let blocks = u64::from(parameters.block_size).saturating_mul(128);
            (u32::from(parameters.parallelization), parameters.cost_parameter.saturating_mul(blocks))
        }
        _ => (u32::MAX, u64::MAX),
    };
    let subject = "the cost of decrypting the private key";
    let rounds_limit = match kdf {
        Kdf::Scrypt(_) => 16,
        _ => KEY_DERIVATION_ROUNDS,
    };
    at_most(rounds as usize, rounds_limit as usize, "KEY_DERIVATION_ROUNDS", subject)?;
    if memory > KEY_DERIVATION_MEMORY {
        let name = "KEY_DERIVATION_MEMORY";
        return Err(Error::Limit { subject, name, limit: KEY_DERIVATION_MEMORY });
    }
    Ok(())
}
