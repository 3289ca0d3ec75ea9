//! Certificates (RFC 5280), as far as PKCS #7 needs them.

use rsa::RsaPublicKey;

use super::public::from_spki;
use super::{PublicKey, pem};
use crate::asn1::{INTEGER, Reader, SEQUENCE};
use crate::limits::{KEY_FILE_LIMIT, at_most};
use crate::{Error, Result};

/// A certificate with an RSA key. Its signature, validity and usage are not checked, as in ocicrypt: it is a file that
/// the user has chosen.
#[derive(Clone)]
pub(crate) struct Certificate {
    /// The name of the issuer in DER.
    pub(crate) issuer: Vec<u8>,
    /// The serial number: the content of the integer.
    pub(crate) serial: Vec<u8>,
    pub(crate) key: RsaPublicKey,
}

impl Certificate {
    /// Reads a certificate in DER or PEM. Of several in PEM, the first one counts.
    ///
    /// # Errors
    /// - [`Error::Key`]: the bytes are no certificate, or one without an RSA key.
    /// - [`Error::Limit`]
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        at_most(bytes.len(), KEY_FILE_LIMIT, "KEY_FILE_LIMIT", "a file with a certificate")?;
        match pem::first_block(bytes, |label| label == "CERTIFICATE" || label == "TRUSTED CERTIFICATE") {
            Some(block) => Self::from_der(&block.bytes),
            None => Self::from_der(bytes),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self> {
        const VERSION: u8 = 0xa0;
        let mut certificate = Reader::new(der).inside(SEQUENCE)?;
        let mut fields = certificate.inside(SEQUENCE)?;
        if fields.peek() == Some(VERSION) {
            fields.any()?;
        }
        let serial = fields.content(INTEGER)?.to_vec();
        fields.inside(SEQUENCE)?; // the algorithm of the signature
        let issuer = fields.any()?;
        fields.inside(SEQUENCE)?; // the validity
        fields.inside(SEQUENCE)?; // the subject
        let key = fields.any()?;
        if issuer.tag != SEQUENCE || key.tag != SEQUENCE {
            return Err(crate::asn1::malformed());
        }
        let PublicKey::Rsa(key) = from_spki(key.whole)? else {
            return Err(Error::key("it has no RSA key, which PKCS #7 needs"));
        };
        Ok(Self { issuer: issuer.whole.to_vec(), serial, key })
    }
}
