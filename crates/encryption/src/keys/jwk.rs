//! JSON Web Keys (RFC 7517; RFC 7518, section 6).

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Curve, EcPublicKey, EcSecretKey, PrivateKey, PublicKey, rsa_key};
use crate::encoding::{to_url, url};
use crate::{Error, Result};

/// The members of a key that this crate uses.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
}

/// The public key of an elliptic curve as the header of a JWE has it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct EcJwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

impl EcJwk {
    pub(crate) fn of(key: &EcPublicKey) -> Self {
        let (x, y) = key.coordinates();
        Self { kty: "EC".to_owned(), crv: key.curve().name().to_owned(), x: to_url(&x), y: to_url(&y) }
    }

    pub(crate) fn key(&self) -> Result<EcPublicKey> {
        if self.kty != "EC" {
            return Err(unsupported(&self.kty));
        }
        let curve = Curve::of_name(&self.crv).ok_or_else(|| unsupported(&self.crv))?;
        EcPublicKey::from_coordinates(curve, &number(Some(&self.x), "x")?, &number(Some(&self.y), "y")?)
    }
}

/// Returns whether bytes are a JSON object.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

/// Reads a public key, and the algorithm that it states.
pub(super) fn read_public(json: &[u8]) -> Result<(PublicKey, Option<String>)> {
    let jwk = parse(json)?;
    if jwk.d.is_some() {
        return Err(Error::key("it is a private key, and a public key is needed"));
    }
    let key = match jwk.kty.as_str() {
        "RSA" => PublicKey::Rsa(rsa_key::public(&number(jwk.n.as_deref(), "n")?, &number(jwk.e.as_deref(), "e")?)?),
        "EC" => {
            let curve = jwk.curve()?;
            let (x, y) = (number(jwk.x.as_deref(), "x")?, number(jwk.y.as_deref(), "y")?);
            PublicKey::Ec(EcPublicKey::from_coordinates(curve, &x, &y)?)
        }
        other => return Err(unsupported(other)),
    };
    Ok((key, jwk.alg.clone().filter(|alg| !alg.is_empty())))
}

/// Reads a private key.
pub(super) fn read_private(json: &[u8]) -> Result<PrivateKey> {
    let jwk = parse(json)?;
    let Some(d) = jwk.d.as_deref() else {
        return Err(Error::key("it is a public key, and a private key is needed"));
    };
    let d = zeroize::Zeroizing::new(number(Some(d), "d")?);
    match jwk.kty.as_str() {
        "RSA" => {
            let (n, e) = (number(jwk.n.as_deref(), "n")?, number(jwk.e.as_deref(), "e")?);
            let primes = match (jwk.p.as_deref(), jwk.q.as_deref()) {
                (Some(p), Some(q)) => Some((number(Some(p), "p")?, number(Some(q), "q")?)),
                _ => None,
            };
            let primes = primes.as_ref().map(|(p, q)| (p.as_slice(), q.as_slice()));
            Ok(PrivateKey::Rsa(Box::new(rsa_key::private(&n, &e, &d, primes)?)))
        }
        "EC" => Ok(PrivateKey::Ec(EcSecretKey::from_number(jwk.curve()?, &d)?)),
        other => Err(unsupported(other)),
    }
}

impl Jwk {
    fn curve(&self) -> Result<Curve> {
        let name = self.crv.as_deref().unwrap_or_default();
        Curve::of_name(name).ok_or_else(|| unsupported(name))
    }
}

fn parse(json: &[u8]) -> Result<Jwk> {
    // An error of the parser could repeat a part of the key.
    serde_json::from_slice(json).map_err(|_| Error::key("it is no JSON Web Key"))
}

fn number(text: Option<&str>, name: &str) -> Result<Vec<u8>> {
    text.and_then(url).ok_or_else(|| Error::key(format!("its member {name:?} is missing or not base64url")))
}

fn unsupported(name: &str) -> Error {
    let name: String = name.chars().take(32).collect();
    Error::key(format!("keys of {name:?} are not supported; RSA, P-256, P-384 and P-521 are"))
}
