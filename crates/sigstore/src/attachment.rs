//! Signatures as containers/image and older cosign attach them to an image: a payload with annotations.

pub(crate) mod promise;

use std::time::SystemTime;

use crate::certificate::{CERTIFICATES_LIMIT, Candidates, Certificate, Usage};
use crate::encoding::{standard, to_standard};
use crate::error::{Error, Result, at_most};
use crate::keys::{PrivateKey, PublicKey};
use crate::seconds_of;

/// The largest length of a payload in bytes.
pub const PAYLOAD_LIMIT: usize = 4 << 20;
/// The largest length of an annotation in bytes.
pub const ANNOTATION_LIMIT: usize = 1 << 20;
/// The largest number of keys that one verification tries.
pub const KEYS_LIMIT: usize = 1000;

/// The media type of a payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// The annotation with the promise of a log, as JSON.
pub const BUNDLE_ANNOTATION: &str = "dev.sigstore.cosign/bundle";
/// The annotation with the signer's certificate, in PEM.
pub const CERTIFICATE_ANNOTATION: &str = "dev.sigstore.cosign/certificate";
/// The annotation with the issuers of the certificate, in PEM.
pub const CHAIN_ANNOTATION: &str = "dev.sigstore.cosign/chain";

/// A payload and the texts of its annotations. No part of it is trusted before a verification succeeds.
///
/// The payload is not parsed here: parse it after its signature was verified.
#[derive(Debug, Clone, Copy)]
pub struct Attachment<'a> {
    /// The signed bytes.
    pub payload: &'a [u8],
    /// The text of [`SIGNATURE_ANNOTATION`].
    pub signature: &'a str,
    /// The text of [`BUNDLE_ANNOTATION`].
    pub bundle: Option<&'a str>,
    /// The text of [`CERTIFICATE_ANNOTATION`].
    pub certificate: Option<&'a str>,
    /// The text of [`CHAIN_ANNOTATION`].
    pub chain: Option<&'a str>,
}

/// The signers that Fulcio certifies and a policy accepts.
#[derive(Debug, Clone)]
pub struct Fulcio {
    /// The trusted authorities.
    pub authorities: Vec<Certificate>,
    /// The OIDC issuer, exactly.
    pub oidc_issuer: String,
    /// The email address, exactly.
    pub email: String,
}

/// The signers that another authority certifies and a policy accepts.
#[derive(Debug, Clone)]
pub struct Pki {
    /// The trusted authorities.
    pub roots: Vec<Certificate>,
    /// Authorities below them, which are trusted only through them.
    pub intermediates: Vec<Certificate>,
    /// The email address that the certificate must have.
    pub email: Option<String>,
    /// The host name that the certificate must have.
    pub hostname: Option<String>,
}

/// The key or certificate that verified an attachment.
#[derive(Debug, Clone)]
pub struct VerifiedAttachment {
    /// The key that verified the signature.
    pub key: PublicKey,
    /// The certificate of that key.
    pub certificate: Option<Certificate>,
    /// The time at which a log received the signature, in seconds since 1970.
    pub logged_at: Option<i64>,
}

impl Attachment<'_> {
    /// Verifies the signature with any of the keys. If `rekor` has keys, the promise of a log must verify with one of
    /// them, and be for the same payload, signature and key.
    ///
    /// # Errors
    ///
    /// - [`Error::Signature`]: no key verifies the signature.
    /// - [`Error::Log`]: the promise is missing, not signed by `rekor`, or for another signature.
    /// - [`Error::Malformed`], [`Error::Json`], [`Error::TooLarge`].
    pub fn verify_with_keys(&self, keys: &[PublicKey], rekor: &[PublicKey]) -> Result<VerifiedAttachment> {
        let signature = self.signature_bytes()?;
        at_most(keys.len(), KEYS_LIMIT, "keys", "KEYS_LIMIT")?;
        let Some(key) = keys.iter().find(|key| key.verify(self.payload, &signature)) else {
            return Err(Error::Signature("any of the keys"));
        };
        let logged_at = if rekor.is_empty() { None } else { Some(self.promised(rekor, &signature, key.to_der())?) };
        Ok(VerifiedAttachment { key: key.clone(), certificate: None, logged_at })
    }

    /// Verifies the signature with a certificate of Fulcio. The chain must be valid at the time that a log promises.
    ///
    /// # Errors
    ///
    /// - [`Error::Material`]: a certificate is missing.
    /// - [`Error::Log`]: the promise is missing, not signed by `rekor`, or for another signature or certificate.
    /// - [`Error::Certificate`]: the certificate has no chain to the authorities, or is not for signing code.
    /// - [`Error::Identity`]: the certificate has another issuer or email address.
    /// - [`Error::Signature`]: the key of the certificate does not verify the signature.
    /// - [`Error::Malformed`], [`Error::Json`], [`Error::TooLarge`].
    pub fn verify_with_fulcio(&self, fulcio: &Fulcio, rekor: &[PublicKey]) -> Result<VerifiedAttachment> {
        let signature = self.signature_bytes()?;
        let certificate = self.leaf()?;
        let time = self.promised(rekor, &signature, certificate.to_der())?;
        let candidates = Candidates { anchors: &fulcio.authorities, intermediates: &self.intermediates()? };
        candidates.chain(&certificate, time, Usage::CodeSigning)?;
        let issuer = certificate.oidc_issuer()?;
        if issuer != fulcio.oidc_issuer {
            return Err(Error::Identity(format!("its OIDC issuer is {issuer:?}")));
        }
        expect_email(&certificate, &fulcio.email)?;
        self.verified_by(certificate, &signature, Some(time))
    }

    /// Verifies the signature with a certificate of another authority. The chain must be valid at `now`.
    ///
    /// # Errors
    ///
    /// Those of [`Attachment::verify_with_fulcio`], without those about logs. [`Error::Identity`] also if `pki` has
    /// neither an email address nor a host name.
    pub fn verify_with_pki(&self, pki: &Pki, now: SystemTime) -> Result<VerifiedAttachment> {
        let signature = self.signature_bytes()?;
        let certificate = self.leaf()?;
        let mut intermediates = pki.intermediates.clone();
        intermediates.extend(self.intermediates()?);
        let candidates = Candidates { anchors: &pki.roots, intermediates: &intermediates };
        candidates.chain(&certificate, seconds_of(now), Usage::CodeSigning)?;
        if pki.email.is_none() && pki.hostname.is_none() {
            return Err(Error::Identity("neither an email address nor a host name is accepted".to_owned()));
        }
        if let Some(email) = &pki.email {
            expect_email(&certificate, email)?;
        }
        if let Some(host) = pki.hostname.as_ref().filter(|host| !certificate.has_host(host)) {
            return Err(Error::Identity(format!("it has not the host name {host:?}")));
        }
        self.verified_by(certificate, &signature, None)
    }

    fn signature_bytes(&self) -> Result<Vec<u8>> {
        at_most(self.payload.len(), PAYLOAD_LIMIT, "payload", "PAYLOAD_LIMIT")?;
        for text in [Some(self.signature), self.bundle, self.certificate, self.chain].into_iter().flatten() {
            at_most(text.len(), ANNOTATION_LIMIT, "annotation", "ANNOTATION_LIMIT")?;
        }
        // Signers that use `base64` or `openssl` leave line ends in the text, and Go's decoder ignores them.
        standard(&self.signature.replace(['\r', '\n'], ""), "signature")
    }

    fn promised(&self, rekor: &[PublicKey], signature: &[u8], material: &[u8]) -> Result<i64> {
        let text = self.bundle.ok_or_else(|| Error::Log("the promise of a log is missing".to_owned()))?;
        promise::verify(text, rekor, &promise::Signed { payload: self.payload, signature, material })
    }

    fn leaf(&self) -> Result<Certificate> {
        let text = self.certificate.ok_or(Error::Material("the signature has no certificate"))?;
        Certificate::from_pem(text.as_bytes())
    }

    /// Returns the certificates between the first one and the last one of the chain, which is an authority.
    fn intermediates(&self) -> Result<Vec<Certificate>> {
        let mut chain = Certificate::all_from_pem(self.chain.unwrap_or_default().as_bytes())?;
        at_most(chain.len(), CERTIFICATES_LIMIT, "chain of certificates", "CERTIFICATES_LIMIT")?;
        chain.pop();
        Ok(chain)
    }

    fn verified_by(
        &self,
        certificate: Certificate,
        signature: &[u8],
        logged_at: Option<i64>,
    ) -> Result<VerifiedAttachment> {
        let key = certificate.public_key()?;
        if !key.verify(self.payload, signature) {
            return Err(Error::Signature("the key of its certificate"));
        }
        Ok(VerifiedAttachment { key, certificate: Some(certificate), logged_at })
    }
}

/// Signs a payload, and returns the text of [`SIGNATURE_ANNOTATION`].
pub fn sign_payload(key: &PrivateKey, payload: &[u8]) -> String {
    to_standard(&key.sign(payload))
}

fn expect_email(certificate: &Certificate, email: &str) -> Result<()> {
    if certificate.has_email(email) {
        return Ok(());
    }
    let names: Vec<_> = certificate.alternative_names().iter().take(5).map(|name| name.text()).collect();
    Err(Error::Identity(format!("it has not the email address {email:?}, but {names:?}")))
}
