//! RSA keys (RFC 8017, appendix A.1).

use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPrivateKey, RsaPublicKey};

use crate::asn1::{Reader, SEQUENCE, malformed, without_zeros};
use crate::limits::{RSA_BITS, at_most};
use crate::{Error, Result};

/// Reads an `RSAPublicKey`.
pub(super) fn read_public(der: &[u8]) -> Result<RsaPublicKey> {
    let mut fields = Reader::new(der).inside(SEQUENCE)?;
    public(fields.unsigned()?, fields.unsigned()?)
}

/// Reads an `RSAPrivateKey` of two primes.
pub(super) fn read_private(der: &[u8]) -> Result<RsaPrivateKey> {
    let mut fields = Reader::new(der).inside(SEQUENCE)?;
    // The version is 0 for two primes.
    if !fields.unsigned()?.is_empty() {
        return Err(Error::key("it is an RSA key of more than two primes"));
    }
    let [n, e, d, p, q] = [(); 5].map(|()| fields.unsigned());
    private(n?, e?, d?, Some((p?, q?)))
}

/// Returns the public key with a modulus and an exponent.
pub(super) fn public(n: &[u8], e: &[u8]) -> Result<RsaPublicKey> {
    check_length(n)?;
    let key = RsaPublicKey::new_with_max_size(BigUint::from_bytes_be(n), BigUint::from_bytes_be(e), RSA_BITS);
    let key = key.map_err(|error| Error::key(format!("it is no valid RSA key: {error}")))?;
    // Montgomery's multiplication needs an odd modulus.
    match n.last() {
        Some(last) if last % 2 == 1 && key.n().bits() >= 512 => Ok(key),
        _ => Err(Error::key("it is no valid RSA key: its modulus is even or too small")),
    }
}

/// Returns the private key with these numbers. The primes can be computed from the others.
pub(super) fn private(n: &[u8], e: &[u8], d: &[u8], primes: Option<(&[u8], &[u8])>) -> Result<RsaPrivateKey> {
    public(n, e)?;
    let all = [d].into_iter().chain(primes.into_iter().flat_map(|(p, q)| [p, q]));
    all.clone().try_for_each(check_length)?;
    // The crate divides by p - 1 and inverts modulo p.
    if all.clone().any(|number| without_zeros(number).len() < 8) {
        return Err(malformed());
    }
    if primes.is_some_and(|(p, q)| p.last().is_none_or(|p| p % 2 == 0) || q.last().is_none_or(|q| q % 2 == 0)) {
        return Err(malformed());
    }
    let primes = primes.map(|(p, q)| vec![BigUint::from_bytes_be(p), BigUint::from_bytes_be(q)]);
    let [n, e, d] = [n, e, d].map(BigUint::from_bytes_be);
    RsaPrivateKey::from_components(n, e, d, primes.unwrap_or_default())
        .map_err(|error| Error::key(format!("it is no valid RSA key: {error}")))
}

fn check_length(number: &[u8]) -> Result<()> {
    at_most(without_zeros(number).len() * 8, RSA_BITS, "RSA_BITS", "the number of bits of an RSA key")
}
