//! The keys that decrypt.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::annotations::{Scheme, public_options, schemes, wrapped_keys};
use crate::keys::{Certificate, PrivateKey, read_private};
use crate::limits::KEY_ATTEMPTS;
use crate::openpgp::SecretKeys;
use crate::{Error, LayerKey, Result, jwe, openpgp, options, pkcs7};

/// Keys that decrypt layers: private keys for JWE and PKCS #7, certificates for PKCS #7, and OpenPGP secret keys.
#[derive(Default)]
pub struct DecryptionKeys {
    private: Vec<PrivateKey>,
    certificates: Vec<Certificate>,
    pgp: Vec<SecretKeys>,
}

/// The kind of a file with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// A private key, for JWE and PKCS #7.
    Private,
    /// A certificate, which selects the recipient of a PKCS #7 message.
    Certificate,
    /// OpenPGP secret keys.
    OpenPgp,
}

/// Counts the attempts to unwrap a layer's key.
#[derive(Debug, Default)]
pub(crate) struct Attempts(usize);

impl Attempts {
    /// Counts one more.
    pub(crate) fn take(&mut self) -> Result<()> {
        self.0 += 1;
        crate::limits::at_most(self.0, KEY_ATTEMPTS, "KEY_ATTEMPTS", "the number of keys to try for a layer")
    }
}

impl DecryptionKeys {
    /// Returns no keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the content of a file, and returns its kind.
    ///
    /// It is a private key (PKCS #8, PKCS #1 or SEC 1 in PEM or DER, or a JWK; RSA, P-256, P-384 or P-521), an X.509
    /// certificate, or a keyring of OpenPGP secret keys, binary or with ASCII armor. `password` decrypts private keys.
    ///
    /// # Errors
    /// - [`Error::Key`]: it is none of these.
    /// - [`Error::PasswordMissing`], [`Error::PasswordWrong`]: it is an encrypted private key. The password of OpenPGP
    ///   keys is not checked before their use.
    /// - [`Error::Limit`]: it exceeds [`KEY_FILE_LIMIT`](crate::KEY_FILE_LIMIT),
    ///   [`KEY_RING_LIMIT`](crate::KEY_RING_LIMIT), [`RSA_BITS`](crate::RSA_BITS),
    ///   [`KEY_DERIVATION_ROUNDS`](crate::KEY_DERIVATION_ROUNDS) or
    ///   [`KEY_DERIVATION_MEMORY`](crate::KEY_DERIVATION_MEMORY).
    pub fn add(&mut self, bytes: &[u8], password: Option<&[u8]>) -> Result<KeyKind> {
        let as_private = match read_private(bytes, password) {
            Ok(key) => {
                self.private.push(key);
                return Ok(KeyKind::Private);
            }
            Err(error @ (Error::PasswordMissing | Error::PasswordWrong)) => return Err(error),
            Err(error) => error,
        };
        if let Ok(certificate) = Certificate::read(bytes) {
            self.certificates.push(certificate);
            return Ok(KeyKind::Certificate);
        }
        if let Ok(keys) = SecretKeys::read(bytes, password) {
            self.pgp.push(keys);
            return Ok(KeyKind::OpenPgp);
        }
        Err(match as_private {
            limit @ Error::Limit { .. } => limit,
            Error::Key { reason } if is_private_key(bytes) => Error::Key { reason },
            _ => Error::key("it is no private key, no certificate with an RSA key, and no OpenPGP secret key"),
        })
    }

    /// Returns whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.private.is_empty() && self.certificates.is_empty() && self.pgp.is_empty()
    }

    /// Unwraps the key of a layer, from the annotations of its descriptor.
    ///
    /// # Errors
    /// - [`Error::NoKey`]: no key is given for the forms in which the layer's key is wrapped.
    /// - [`Error::NotDecryptable`]: none of the keys fits.
    /// - [`Error::UnsupportedScheme`]: the layer's key is wrapped in unknown forms only.
    /// - [`Error::Annotations`], [`Error::UnknownCipher`]: the annotations are incomplete or malformed.
    /// - [`Error::Limit`]: the annotations exceed a limit of this crate.
    pub fn layer_key(&self, annotations: &BTreeMap<String, String>) -> Result<LayerKey> {
        let hmac = options::read_public(public_options(annotations)?)?;
        let schemes = schemes(annotations);
        let (mut is_known, mut has_keys) = (false, false);
        let mut attempts = Attempts::default();
        for scheme in Scheme::ALL {
            let wrapped = wrapped_keys(annotations, scheme)?;
            is_known |= !wrapped.is_empty();
            has_keys |= !wrapped.is_empty() && self.has_keys_for(scheme);
            for wrapped in wrapped {
                if let Some(private) = self.unwrap(scheme, &wrapped, &mut attempts)? {
                    let (key, nonce) = options::read_private(&private)?;
                    return Ok(LayerKey { key, nonce, hmac });
                }
            }
        }
        Err(match (schemes.is_empty(), is_known, has_keys) {
            (true, ..) => Error::annotations("they have no encrypted key"),
            (_, false, _) => Error::UnsupportedScheme { schemes },
            (_, _, false) => Error::NoKey { schemes },
            _ => Error::NotDecryptable { schemes },
        })
    }

    fn has_keys_for(&self, scheme: Scheme) -> bool {
        match scheme {
            Scheme::Jwe | Scheme::Pkcs7 => !self.private.is_empty(),
            Scheme::Pgp => !self.pgp.is_empty(),
        }
    }

    fn unwrap(&self, scheme: Scheme, wrapped: &[u8], attempts: &mut Attempts) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match scheme {
            Scheme::Jwe => jwe::unwrap(wrapped, &self.private, attempts),
            Scheme::Pkcs7 => pkcs7::unwrap(wrapped, &self.private, &self.certificates, attempts),
            Scheme::Pgp => openpgp::unwrap(wrapped, &self.pgp, attempts),
        }
    }
}

/// Returns whether bytes look like a private key in PEM, so that the reason for refusing them helps.
fn is_private_key(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|text| text.contains("PRIVATE KEY-----") || text.trim_start().starts_with('{'))
        && !bytes.starts_with(b"-----BEGIN PGP")
}

impl fmt::Debug for DecryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKeys")
            .field("private", &self.private.len())
            .field("certificates", &self.certificates.len())
            .field("pgp", &self.pgp.len())
            .finish()
    }
}
