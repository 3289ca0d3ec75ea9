//! X.509 certificates: reading, names, and chains to trusted ones (RFC 5280).

mod chain;
mod extensions;
mod names;

use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use sha2_of_keys::{Digest as _, Sha256};

use crate::encoding::{pem_block, pem_blocks};
use crate::error::{Error, Result, at_most};
use crate::keys::{Hash, PublicKey};

pub use chain::{CHAIN_LIMIT, SIGNATURE_CHECKS_LIMIT};
pub(crate) use chain::{Candidates, Usage};
pub(crate) use extensions::SCT_LIST;
pub use names::AlternativeName;

/// The largest length of a certificate in bytes.
pub const CERTIFICATE_LIMIT: usize = 64 << 10;
/// The largest number of certificates that a signature brings with it.
pub const CERTIFICATES_LIMIT: usize = 16;

/// A certificate whose extensions were read.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Vec<u8>,
    /// The signed part, as it was read.
    tbs: Vec<u8>,
    pub(crate) parsed: x509_cert::Certificate,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    pub(crate) extensions: extensions::Extensions,
}

impl Certificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    ///
    /// - [`Error::TooLarge`]: it has more than [`CERTIFICATE_LIMIT`] bytes.
    /// - [`Error::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Self> {
        at_most(der.len(), CERTIFICATE_LIMIT, "certificate", "CERTIFICATE_LIMIT")?;
        let parsed = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        if parsed.signature_algorithm != parsed.tbs_certificate.signature {
            return Err(malformed("its two signature algorithms differ"));
        }
        let issuer = parsed.tbs_certificate.issuer.to_der().map_err(malformed)?;
        let subject = parsed.tbs_certificate.subject.to_der().map_err(malformed)?;
        let extensions = extensions::Extensions::read(&parsed)?;
        let tbs = signed_part(der).map_err(malformed)?;
        Ok(Self { der: der.to_vec(), tbs, parsed, issuer, subject, extensions })
    }

    /// Reads the only certificate of a PEM text.
    ///
    /// # Errors
    ///
    /// Those of [`Certificate::from_der`], and [`Error::Malformed`] for no certificate or several.
    pub fn from_pem(text: &[u8]) -> Result<Self> {
        let block = pem_block(text, "certificate")?;
        if block.label != "CERTIFICATE" {
            return Err(malformed("its PEM label is not \"CERTIFICATE\""));
        }
        Self::from_der(&block.bytes)
    }

    /// Reads all certificates of a PEM text. An empty text has none.
    ///
    /// # Errors
    ///
    /// Those of [`Certificate::from_der`], and [`Error::Malformed`] for a block that is no certificate.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>> {
        let read = |block: crate::encoding::Block| match block.label.as_str() {
            "CERTIFICATE" => Self::from_der(&block.bytes),
            _ => Err(malformed("a PEM label is not \"CERTIFICATE\"")),
        };
        let certificates: Vec<_> = pem_blocks(text, "certificates")?.into_iter().map(read).collect::<Result<_>>()?;
        if certificates.is_empty() && !text.trim_ascii().is_empty() {
            return Err(malformed("the text has no PEM block"));
        }
        Ok(certificates)
    }

    /// Returns the DER, as it was read.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the alternative names (RFC 5280, 4.2.1.6).
    pub fn alternative_names(&self) -> &[AlternativeName] {
        &self.extensions.names
    }

    /// Returns the key of the certificate.
    ///
    /// # Errors
    ///
    /// [`Error::Key`]: the key has another algorithm, curve or size than this crate supports.
    pub fn public_key(&self) -> Result<PublicKey> {
        PublicKey::from_der(&self.spki()?)
    }

    pub(crate) fn spki(&self) -> Result<Vec<u8>> {
        self.parsed.tbs_certificate.subject_public_key_info.to_der().map_err(malformed)
    }

    /// Returns the SHA-256 of the SubjectPublicKeyInfo.
    pub(crate) fn key_hash(&self) -> Result<[u8; 32]> {
        Ok(Sha256::digest(self.spki()?).into())
    }

    /// Returns the OIDC issuer that Fulcio wrote into the certificate.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`]: there is none, or the two extensions for it differ.
    pub fn oidc_issuer(&self) -> Result<&str> {
        let (first, second) = (&self.extensions.issuer_v1, &self.extensions.issuer_v2);
        match (first.as_deref(), second.as_deref()) {
            (Some(first), Some(second)) if first != second => {
                Err(Error::Certificate("its two OIDC issuers differ".to_owned()))
            }
            (_, Some(issuer)) | (Some(issuer), None) => Ok(issuer),
            (None, None) => Err(Error::Certificate("it has no OIDC issuer".to_owned())),
        }
    }

    pub(crate) fn has_email(&self, email: &str) -> bool {
        self.extensions.names.iter().any(|name| matches!(name, AlternativeName::Email(found) if found == email))
    }

    pub(crate) fn has_host(&self, host: &str) -> bool {
        let matches =
            |name: &AlternativeName| matches!(name, AlternativeName::Dns(found) if names::matches(found, host));
        self.extensions.names.iter().any(matches)
    }

    /// Returns whether the time, in seconds since 1970, is between the two of the certificate, inclusive.
    pub(crate) fn is_valid_at(&self, time: i64) -> bool {
        let validity = &self.parsed.tbs_certificate.validity;
        let seconds =
            |time: &x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        (seconds(&validity.not_before)..=seconds(&validity.not_after)).contains(&time)
    }

    /// Returns whether the certificate's signature is one of `issuer`.
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> bool {
        let Ok(key) = issuer.public_key() else { return false };
        let algorithm = self.parsed.signature_algorithm.oid;
        let Some(signature) = self.parsed.signature.as_bytes() else { return false };
        verify_with_algorithm(&key, algorithm, &self.tbs, signature)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

/// Returns the bytes of the first element of a certificate, over which its signature is.
fn signed_part(der: &[u8]) -> der::Result<Vec<u8>> {
    SliceReader::new(der)?.sequence(|reader| {
        let tbs = reader.tlv_bytes()?.to_vec();
        reader.read_slice(reader.remaining_len())?;
        Ok(tbs)
    })
}

fn malformed(reason: impl ToString) -> Error {
    Error::malformed("certificate", reason)
}

/// Returns whether `signature` is one of `message` with an algorithm of X.509 (RFC 4055, 5758, 8410).
pub(crate) fn verify_with_algorithm(
    key: &PublicKey,
    algorithm: der::asn1::ObjectIdentifier,
    message: &[u8],
    signature: &[u8],
) -> bool {
    use crate::keys::KeyKind::{Ed25519, P256, P384, P521, Rsa};

    let (hash, is_kind) = match algorithm.to_string().as_str() {
        "1.2.840.10045.4.3.2" => (Hash::Sha256, matches!(key.kind(), P256 | P384 | P521)),
        "1.2.840.10045.4.3.3" => (Hash::Sha384, matches!(key.kind(), P256 | P384 | P521)),
        "1.2.840.10045.4.3.4" => (Hash::Sha512, matches!(key.kind(), P256 | P384 | P521)),
        "1.2.840.113549.1.1.11" => (Hash::Sha256, key.kind() == Rsa),
        "1.2.840.113549.1.1.12" => (Hash::Sha384, key.kind() == Rsa),
        "1.2.840.113549.1.1.13" => (Hash::Sha512, key.kind() == Rsa),
        "1.3.101.112" => (Hash::Sha512, key.kind() == Ed25519),
        _ => return false,
    };
    is_kind && key.verify_hashed(hash, message, signature)
}
