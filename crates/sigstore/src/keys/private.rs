//! Private keys, and signing.

use der::Decode as _;
use der::asn1::ObjectIdentifier;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, PrivateKeyInfo};
use rsa::pkcs8::DecodePrivateKey as _;
use sha2_of_keys::Sha256;
use x509_cert::spki;
use zeroize::Zeroizing;

use super::{EC_PUBLIC_KEY, ED25519, Hash, P256, P384, P521, PublicKey, RSA, RSA_BITS_MAX, RSA_BITS_MIN};
use super::{encrypted, not_usable, padded};
use crate::encoding::{pem_block, to_pem};
use crate::error::{Error, Result, at_most};

/// The largest length of a private key file in bytes.
pub const PRIVATE_KEY_LIMIT: usize = 64 << 10;

/// A private key.
pub struct PrivateKey {
    inner: Inner,
    public: PublicKey,
    /// The key as PKCS #8.
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Inner {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Rsa(Box<rsa::RsaPrivateKey>),
    Ed25519(ed25519_dalek::SigningKey),
}

impl PrivateKey {
    /// Generates a key of P-256, which every tool reads.
    pub fn generate() -> Self {
        let key = p256::ecdsa::SigningKey::random(&mut rsa::rand_core::OsRng);
        // The encoding of a key that exists has no cause to fail.
        let pkcs8 = key.to_pkcs8_der().expect("a key of P-256 has an encoding");
        Self::from_pkcs8(pkcs8.as_bytes()).expect("a generated key is read")
    }

    /// Reads a private key from PEM.
    ///
    /// The label is `ENCRYPTED SIGSTORE PRIVATE KEY`, the older `ENCRYPTED COSIGN PRIVATE KEY`, or `PRIVATE KEY`
    /// (PKCS #8, RFC 5208), which is not encrypted and needs no passphrase. The key derivation of an encrypted key is
    /// scrypt with one of [`SCRYPT_N`](super::SCRYPT_N), and takes at most 128 MiB of memory.
    ///
    /// # Errors
    ///
    /// - [`Error::TooLarge`]: the text has more than [`PRIVATE_KEY_LIMIT`] bytes.
    /// - [`Error::Malformed`], [`Error::Json`]: the text has no PEM block, or several, or its content is malformed.
    /// - [`Error::Key`]: the block is no private key, or one of another algorithm, curve, size or derivation.
    /// - [`Error::PassphraseMissing`], [`Error::PassphraseWrong`].
    pub fn read(text: &[u8], passphrase: Option<&[u8]>) -> Result<Self> {
        at_most(text.len(), PRIVATE_KEY_LIMIT, "private key", "PRIVATE_KEY_LIMIT")?;
        let block = pem_block(text, "private key")?;
        let bytes = Zeroizing::new(block.bytes);
        match block.label.as_str() {
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                let passphrase = passphrase.ok_or(Error::PassphraseMissing)?;
                Self::from_pkcs8(&encrypted::decrypt(&bytes, passphrase)?)
            }
            "PRIVATE KEY" => Self::from_pkcs8(&bytes),
            label => {
                Err(Error::Key(format!("its PEM label {label:?} is not one of a sigstore or PKCS #8 private key")))
            }
        }
    }

    /// Reads a private key from the DER of PKCS #8.
    ///
    /// # Errors
    ///
    /// [`Error::Key`]: the bytes are no private key, or one of another algorithm, curve or size.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let info = PrivateKeyInfo::from_der(der).map_err(not_usable)?;
        let inner = match (info.algorithm.oid, info.algorithm.parameters_oid().ok()) {
            (EC_PUBLIC_KEY, Some(curve)) => Inner::of_curve(curve, der)?,
            (RSA, _) => Inner::Rsa(Box::new(rsa_key(der)?)),
            (ED25519, _) => Inner::Ed25519(ed25519_dalek::SigningKey::from_pkcs8_der(der).map_err(not_usable)?),
            (other, _) => return Err(Error::Key(format!("its algorithm {other} is not supported"))),
        };
        let public = PublicKey::from_der(&inner.public().map_err(not_usable)?)?;
        Ok(Self { inner, public, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// Encrypts the key with a passphrase, as `cosign generate-key-pair` does: scrypt with N = 65536, then NaCl's
    /// secretbox.
    pub fn to_encrypted_pem(&self, passphrase: &[u8]) -> String {
        to_pem("ENCRYPTED SIGSTORE PRIVATE KEY", encrypted::encrypt(&self.pkcs8, passphrase).as_bytes())
    }

    /// Returns the public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs by the rule of containers/image; see [`PublicKey::verify`].
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_hashed(Hash::Sha256, message)
    }

    /// Signs by the rule of bundles: P-384 uses SHA-384 and P-521 SHA-512. Ed25519 is pure, because `cosign verify`
    /// refuses Ed25519ph.
    pub fn sign_bundle(&self, message: &[u8]) -> Vec<u8> {
        match self.inner {
            Inner::P384(_) => self.sign_hashed(Hash::Sha384, message),
            Inner::P521(_) => self.sign_hashed(Hash::Sha512, message),
            _ => self.sign(message),
        }
    }

    fn sign_hashed(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        let digest = hash.of(message);
        // ECDSA fails for one nonce in 2^256, and RSA for keys of less than 64 bytes.
        match &self.inner {
            Inner::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&padded(&digest, 32)).expect("a signature");
                signature.to_der().as_bytes().to_vec()
            }
            Inner::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign_prehash(&padded(&digest, 48)).expect("a signature");
                signature.to_der().as_bytes().to_vec()
            }
            Inner::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign_prehash(&padded(&digest, 66)).expect("a signature");
                signature.to_der().as_bytes().to_vec()
            }
            Inner::Rsa(key) => {
                let padding = rsa::Pkcs1v15Sign::new::<Sha256>();
                key.sign_with_rng(&mut rsa::rand_core::OsRng, padding, &digest).expect("a signature")
            }
            Inner::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        }
    }
}

impl Inner {
    fn of_curve(curve: ObjectIdentifier, der: &[u8]) -> Result<Self> {
        Ok(match curve {
            P256 => Self::P256(p256::ecdsa::SigningKey::from_pkcs8_der(der).map_err(not_usable)?),
            P384 => Self::P384(p384::ecdsa::SigningKey::from_pkcs8_der(der).map_err(not_usable)?),
            P521 => {
                let secret = p521::SecretKey::from_pkcs8_der(der).map_err(not_usable)?;
                Self::P521(p521::ecdsa::SigningKey::from_bytes(&secret.to_bytes()).map_err(not_usable)?)
            }
            other => return Err(Error::Key(format!("its curve {other} is not supported"))),
        })
    }

    /// Returns the DER of the SubjectPublicKeyInfo.
    fn public(&self) -> std::result::Result<Vec<u8>, spki::Error> {
        let document = match self {
            Self::P256(key) => key.verifying_key().to_public_key_der(),
            Self::P384(key) => key.verifying_key().to_public_key_der(),
            Self::P521(key) => p521_public(key).to_public_key_der(),
            Self::Rsa(key) => key.to_public_key().to_public_key_der(),
            Self::Ed25519(key) => key.verifying_key().to_public_key_der(),
        };
        Ok(document?.into_vec())
    }
}

fn p521_public(key: &p521::ecdsa::SigningKey) -> p521::PublicKey {
    p521::PublicKey::from_secret_scalar(key.as_nonzero_scalar())
}

fn rsa_key(der: &[u8]) -> Result<rsa::RsaPrivateKey> {
    use rsa::traits::PublicKeyParts as _;

    let key = rsa::RsaPrivateKey::from_pkcs8_der(der).map_err(not_usable)?;
    let bits = key.n().bits();
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(Error::Key(format!("an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, this one {bits}")));
    }
    Ok(key)
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}
