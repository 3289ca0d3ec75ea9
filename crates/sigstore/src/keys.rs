//! Public keys, and signatures over messages.

mod encrypted;
mod private;

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::pkcs1;
use sha2_of_keys::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

use crate::encoding::{self, pem_block};
use crate::error::{Error, Result};

pub use encrypted::SCRYPT_N;
pub use private::{PRIVATE_KEY_LIMIT, PrivateKey};

/// The smallest RSA modulus in bits.
pub const RSA_BITS_MIN: usize = 2048;
/// The largest RSA modulus in bits. A verification with it takes a few milliseconds.
pub const RSA_BITS_MAX: usize = 8192;

pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(crate) const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
pub(crate) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA with the curve P-256.
    P256,
    /// ECDSA with the curve P-384.
    P384,
    /// ECDSA with the curve P-521.
    P521,
    /// RSA with PKCS #1 v1.5.
    Rsa,
    /// Ed25519.
    Ed25519,
}

/// A hash function of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

/// A public key.
#[derive(Clone)]
pub struct PublicKey {
    inner: Box<Inner>,
    spki: Vec<u8>,
}

#[derive(Clone)]
enum Inner {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Rsa(rsa::RsaPublicKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl PublicKey {
    /// Reads a public key from PEM: `PUBLIC KEY` (RFC 5280, SubjectPublicKeyInfo) or `RSA PUBLIC KEY` (PKCS #1).
    ///
    /// # Errors
    ///
    /// - [`Error::Malformed`]: the text has no PEM block, or several.
    /// - [`Error::Key`]: the block is no key, or a key of another algorithm, curve or size.
    pub fn from_pem(text: &[u8]) -> Result<Self> {
        let block = pem_block(text, "public key")?;
        match block.label.as_str() {
            "PUBLIC KEY" => Self::from_der(&block.bytes),
            "RSA PUBLIC KEY" => Self::from_pkcs1(&block.bytes),
            "CERTIFICATE" => Err(Error::Key("it is a certificate, not a public key".to_owned())),
            label if label.ends_with("PRIVATE KEY") => Err(Error::Key("it is a private key".to_owned())),
            label => Err(Error::Key(format!("its PEM label is {label:?} instead of \"PUBLIC KEY\""))),
        }
    }

    /// Reads a public key from the DER of a SubjectPublicKeyInfo (RFC 5280, 4.1).
    ///
    /// # Errors
    ///
    /// [`Error::Key`]: the bytes are no key, or a key of another algorithm, curve or size.
    pub fn from_der(spki: &[u8]) -> Result<Self> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).map_err(|error| Error::Key(error.to_string()))?;
        let bytes = info.subject_public_key.as_bytes().ok_or_else(|| Error::Key("it has unused bits".to_owned()))?;
        let inner = match info.algorithm.oid {
            EC_PUBLIC_KEY => {
                let curve = info.algorithm.parameters_oid().map_err(|error| Error::Key(error.to_string()))?;
                Inner::of_curve(curve, bytes)?
            }
            RSA => Inner::Rsa(rsa_key(bytes)?),
            ED25519 => {
                let bytes: &[u8; 32] = bytes.try_into().map_err(|_| Error::Key("it has a wrong length".to_owned()))?;
                Inner::Ed25519(ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(not_usable)?)
            }
            other => return Err(Error::Key(format!("its algorithm {other} is not supported"))),
        };
        Ok(Self { inner: Box::new(inner), spki: spki.to_vec() })
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self> {
        rsa_key(der)?;
        let algorithm = AlgorithmIdentifierOwned { oid: RSA, parameters: Some(der::Any::null()) };
        let subject_public_key = der::asn1::BitString::from_bytes(der).map_err(not_usable)?;
        let spki = SubjectPublicKeyInfoOwned { algorithm, subject_public_key }.to_der().map_err(not_usable)?;
        Self::from_der(&spki)
    }

    /// Returns the key as PEM with the label `PUBLIC KEY`.
    pub fn to_pem(&self) -> String {
        encoding::to_pem("PUBLIC KEY", &self.spki)
    }

    /// Returns the DER of the SubjectPublicKeyInfo, as it was read.
    pub fn to_der(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the hint that bundles have: base64 of the SHA-256 of [`PublicKey::to_der`].
    pub fn hint(&self) -> String {
        encoding::to_standard(&self.id())
    }

    /// Returns the SHA-256 of [`PublicKey::to_der`]. Logs are known by it.
    pub(crate) fn id(&self) -> [u8; 32] {
        Sha256::digest(&self.spki).into()
    }

    /// Returns the algorithm.
    pub fn kind(&self) -> KeyKind {
        match *self.inner {
            Inner::P256(_) => KeyKind::P256,
            Inner::P384(_) => KeyKind::P384,
            Inner::P521(_) => KeyKind::P521,
            Inner::Rsa(_) => KeyKind::Rsa,
            Inner::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// Returns whether `signature` is one of `message` by the rule of containers/image.
    ///
    /// ECDSA and RSA (PKCS #1 v1.5) use SHA-256 for keys of every size, and Ed25519 is pure (RFC 8032). A
    /// signature of ECDSA is DER.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &*self.inner {
            Inner::Ed25519(key) => verify_ed25519(key, message, signature),
            _ => self.verify_prehash(Hash::Sha256, &Hash::Sha256.of(message), signature),
        }
    }

    /// Returns whether `signature` is one of `message` by the rule of bundles.
    ///
    /// Beyond [`PublicKey::verify`], P-384 may use SHA-384, P-521 SHA-512, and Ed25519 may be Ed25519ph without context.
    pub fn verify_bundle(&self, message: &[u8], signature: &[u8]) -> bool {
        if self.verify(message, signature) {
            return true;
        }
        match &*self.inner {
            Inner::P384(_) => self.verify_hashed(Hash::Sha384, message, signature),
            Inner::P521(_) => self.verify_hashed(Hash::Sha512, message, signature),
            Inner::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature).is_ok_and(|signature| {
                key.verify_prehashed_strict(Sha512::new_with_prefix(message), None, &signature).is_ok()
            }),
            Inner::P256(_) | Inner::Rsa(_) => false,
        }
    }

    /// Returns whether `signature` is one of `message` with this hash. Ed25519 ignores the hash.
    pub(crate) fn verify_hashed(&self, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
        match &*self.inner {
            Inner::Ed25519(key) => verify_ed25519(key, message, signature),
            _ => self.verify_prehash(hash, &hash.of(message), signature),
        }
    }

    /// Returns whether `signature` is one of the message with this digest. Ed25519 needs the message.
    pub(crate) fn verify_prehash(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> bool {
        match &*self.inner {
            Inner::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&padded(digest, 32), &signature).is_ok()),
            Inner::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&padded(digest, 48), &signature).is_ok()),
            Inner::P521(key) => p521::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&padded(digest, 66), &signature).is_ok()),
            Inner::Rsa(key) => verify_rsa(key, hash, digest, signature),
            Inner::Ed25519(_) => false,
        }
    }
}

impl Inner {
    fn of_curve(curve: ObjectIdentifier, point: &[u8]) -> Result<Self> {
        Ok(match curve {
            P256 => Self::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(not_usable)?),
            P384 => Self::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(not_usable)?),
            P521 => Self::P521(p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(not_usable)?),
            other => return Err(Error::Key(format!("its curve {other} is not supported"))),
        })
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PublicKey").field("kind", &self.kind()).field("hint", &self.hint()).finish()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

pub(crate) fn not_usable(error: impl ToString) -> Error {
    Error::Key(error.to_string())
}

/// Returns a digest as the number of a curve with fields of `length` bytes. The crates refuse digests of less than half
/// a field, such as SHA-256 with P-521.
pub(crate) fn padded(digest: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length.saturating_sub(digest.len())];
    bytes.extend_from_slice(digest);
    bytes
}

fn verify_ed25519(key: &ed25519_dalek::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

fn verify_rsa(key: &rsa::RsaPublicKey, hash: Hash, digest: &[u8], signature: &[u8]) -> bool {
    let padding = match hash {
        Hash::Sha256 => rsa::Pkcs1v15Sign::new::<Sha256>(),
        Hash::Sha384 => rsa::Pkcs1v15Sign::new::<Sha384>(),
        Hash::Sha512 => rsa::Pkcs1v15Sign::new::<Sha512>(),
    };
    key.verify(padding, digest, signature).is_ok()
}

fn rsa_key(der: &[u8]) -> Result<rsa::RsaPublicKey> {
    use rsa::traits::PublicKeyParts as _;

    let key = pkcs1::RsaPublicKey::from_der(der).map_err(not_usable)?;
    let number = |number: pkcs1::UintRef<'_>| rsa::BigUint::from_bytes_be(number.as_bytes());
    let modulus = number(key.modulus);
    let bits = modulus.bits();
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(Error::Key(format!("an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, this one {bits}")));
    }
    let key = rsa::RsaPublicKey::new_with_max_size(modulus, number(key.public_exponent), RSA_BITS_MAX);
    let key = key.map_err(not_usable)?;
    if key.e() < &rsa::BigUint::from(3u8) {
        return Err(Error::Key("its exponent is too small".to_owned()));
    }
    Ok(key)
}
