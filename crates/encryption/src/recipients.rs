//! The recipients of encrypted layers.

use std::fmt;

use crate::annotations::Scheme;
use crate::encoding::to_standard;
use crate::keys::{Certificate, read_public};
use crate::openpgp::EncryptionKey;
use crate::{Error, Result, jwe, openpgp, pkcs7};

/// The recipients of encrypted layers, each of which can decrypt them.
#[derive(Clone, Default)]
pub struct Recipients {
    jwe: Vec<jwe::Recipient>,
    pkcs7: Vec<Certificate>,
    pgp: Vec<EncryptionKey>,
}

impl Recipients {
    /// Returns no recipients.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a recipient with JWE: a public key in PEM or DER, or a JWK, of RSA, P-256, P-384 or P-521.
    ///
    /// RSA keys get `RSA-OAEP`, others `ECDH-ES+A256KW`. The member `alg` of a JWK may select `RSA-OAEP-256`,
    /// `ECDH-ES+A128KW` or `ECDH-ES+A192KW`.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Limit`]
    pub fn add_jwe(&mut self, public_key: &[u8]) -> Result<()> {
        let (key, algorithm) = read_public(public_key)?;
        self.jwe.push(jwe::Recipient::new(key, algorithm.as_deref())?);
        Ok(())
    }

    /// Adds a recipient with PKCS #7: an X.509 certificate with an RSA key, in PEM or DER.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Limit`]
    pub fn add_pkcs7(&mut self, certificate: &[u8]) -> Result<()> {
        self.pkcs7.push(Certificate::read(certificate)?);
        Ok(())
    }

    /// Adds a recipient with OpenPGP: the certificates of a keyring, binary or with ASCII armor, that have a name, an
    /// address or a fingerprint, or all without a name. Keys that are expired, revoked or not for encryption are not used.
    ///
    /// # Errors
    /// - [`Error::Recipient`]: the keyring has no usable key for the recipient.
    /// - [`Error::Limit`]
    pub fn add_pgp(&mut self, keyring: &[u8], name: Option<&str>) -> Result<()> {
        self.pgp.extend(openpgp::find(keyring, name)?);
        Ok(())
    }

    /// Returns whether there are no recipients.
    pub fn is_empty(&self) -> bool {
        self.jwe.is_empty() && self.pkcs7.is_empty() && self.pgp.is_empty()
    }

    /// Wraps the private options for all recipients, one message for each form.
    pub(crate) fn wrap(&self, private: &[u8]) -> Result<Vec<(Scheme, String)>> {
        if self.is_empty() {
            return Err(Error::NoRecipients);
        }
        let mut keys = Vec::new();
        if !self.jwe.is_empty() {
            keys.push((Scheme::Jwe, to_standard(&jwe::wrap(&self.jwe, private)?)));
        }
        if !self.pkcs7.is_empty() {
            keys.push((Scheme::Pkcs7, to_standard(&pkcs7::wrap(&self.pkcs7, private)?)));
        }
        if !self.pgp.is_empty() {
            keys.push((Scheme::Pgp, to_standard(&openpgp::wrap(&self.pgp, private)?)));
        }
        Ok(keys)
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipients")
            .field("jwe", &self.jwe.len())
            .field("pkcs7", &self.pkcs7.len())
            .field("pgp", &self.pgp.len())
            .finish()
    }
}
