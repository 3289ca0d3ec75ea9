//! Keyrings, and the verification of messages with them.

use std::time::SystemTime;

use pgp::packet::{Signature, SignatureType, SignatureVersion};

use crate::certificate::{
    Certificate, KeyPosition, Now, certificates, created, expiration, has_unknown_critical, is_strong_hash,
};
use crate::message::Message;
use crate::{Error, KEYRING_LIMIT, Result, armor};

/// Certificates that may sign.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    certificates: Vec<Certificate>,
}

/// A message whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The signed bytes.
    pub content: Vec<u8>,
    /// The fingerprint of the primary key of the signer's certificate, in upper-case hex.
    pub fingerprint: String,
    /// The time at which the signature says it was made.
    pub created: SystemTime,
}

impl Keyring {
    /// Reads certificates: binary, or in one or several armored blocks. Certificates that cannot be read are left out.
    ///
    /// Copies of one certificate are merged, so that a revocation in one of them counts.
    ///
    /// # Errors
    /// - [`Error::TooLarge`] for more than [`KEYRING_LIMIT`] bytes.
    /// - [`Error::Keyring`] if no certificate can be read.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > KEYRING_LIMIT {
            return Err(Error::TooLarge {
                what: "the keyring",
                name: "KEYRING_LIMIT",
                limit: KEYRING_LIMIT,
                unit: "bytes",
            });
        }
        let mut keyring = Self::default();
        let mut reason = None;
        let blocks = match armor::is_armored(bytes) {
            true => armor::blocks(bytes, "PUBLIC KEY BLOCK"),
            false => vec![bytes.to_vec()],
        };
        for block in &blocks {
            let (certificates, omitted) = certificates(block);
            certificates.into_iter().for_each(|certificate| keyring.add(certificate));
            reason = reason.or(omitted);
        }
        if keyring.certificates.is_empty() {
            return Err(Error::Keyring(reason.unwrap_or_else(|| "there is none".to_owned())));
        }
        Ok(keyring)
    }

    /// Adds the certificates of another keyring.
    pub fn merge(&mut self, other: Self) {
        other.certificates.into_iter().for_each(|certificate| self.add(certificate));
    }

    fn add(&mut self, certificate: Certificate) {
        let fingerprint = certificate.fingerprint();
        match self.certificates.iter_mut().find(|it| it.fingerprint() == fingerprint) {
            Some(known) => known.merge(certificate),
            None => self.certificates.push(certificate),
        }
    }

    /// Returns the fingerprints of the primary keys, in upper-case hex.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates.iter().map(fingerprint).collect()
    }

    /// Verifies a signed message: a compressed or plain packet sequence with one binary signature (type 0x00).
    ///
    /// The signer's key must be valid and able to sign at `now`, and the signature must not have expired.
    ///
    /// # Errors
    /// - [`Error::TooLarge`], [`Error::Message`] for bytes that are not a message with one signature.
    /// - [`Error::Signature`] for a text signature, a hash algorithm that can be forged, an unknown critical
    ///   subpacket, and versions other than 4 and 6.
    /// - [`Error::SignatureExpired`].
    /// - [`Error::UnknownSigner`] if the keyring has no key that the signature names.
    /// - [`Error::BadSignature`] if such a key did not make the signature.
    /// - [`Error::Key`] if the key that made it is revoked, expired, not bound to its certificate, or may not sign.
    pub fn verify(&self, message: &[u8], now: SystemTime) -> Result<Verified> {
        let now = Now::of(now);
        let message = Message::parse(message)?;
        let signed = check_signature(&message.signature, now)?;
        let mut error = Error::UnknownSigner { issuer: issuer(&message.signature) };
        for (certificate, position) in self.candidates(&message.signature) {
            if !certificate.verify(position, &message.signature, &message.content) {
                if matches!(error, Error::UnknownSigner { .. }) {
                    error = Error::BadSignature;
                }
                continue;
            }
            let fingerprint = fingerprint(certificate);
            match certificate.check_signer(position, signed, now) {
                Ok(()) => {
                    let created = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(signed);
                    return Ok(Verified { content: message.content, fingerprint, created });
                }
                Err(reason) => error = Error::Key { fingerprint, reason },
            }
        }
        Err(error)
    }

    /// Returns the keys that a signature names. A key id may fit several keys.
    fn candidates<'a>(&'a self, signature: &'a Signature) -> impl Iterator<Item = (&'a Certificate, KeyPosition)> {
        self.certificates.iter().flat_map(move |certificate| {
            let positions = certificate.keys().filter(move |&position| certificate.is_named(position, signature));
            positions.map(move |position| (certificate, position))
        })
    }
}

/// Returns the contents of a message without any verification, for tools that show what a file contains.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::Message`] and [`Error::Signature`] for bytes that are not a message with one signature.
pub fn unverified_content(message: &[u8]) -> Result<Vec<u8>> {
    Message::parse(message).map(|message| message.content)
}

fn fingerprint(certificate: &Certificate) -> String {
    format!("{:X}", certificate.fingerprint())
}

/// Checks the parts of a signature that do not depend on its key, and returns its time.
fn check_signature(signature: &Signature, now: Now) -> Result<u64> {
    let refuse = |reason: &str| Err(Error::Signature(reason.to_owned()));
    if !matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6) {
        return refuse("its version is neither 4 nor 6");
    }
    if signature.typ() != Some(SignatureType::Binary) {
        return refuse("it is not a signature of binary data");
    }
    if !is_strong_hash(signature.hash_alg()) {
        return refuse("its hash algorithm can be forged or is unknown");
    }
    if has_unknown_critical(signature) {
        return refuse("it has a critical subpacket that is unknown");
    }
    let Some(signed) = created(signature) else { return refuse("it has no time") };
    if now.is_before(signed) {
        return refuse("it is from the future");
    }
    if now.has_expired(signed, expiration(signature)) {
        return Err(Error::SignatureExpired);
    }
    Ok(signed)
}

fn issuer(signature: &Signature) -> String {
    if let Some(fingerprint) = signature.issuer_fingerprint().first() {
        return format!("{fingerprint:X}");
    }
    match signature.issuer_key_id().first() {
        Some(id) => id.to_string().to_uppercase(),
        None => "(none)".to_owned(),
    }
}
