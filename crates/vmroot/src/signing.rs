//! Making signatures of images, for [`CopyOptions::signers`](crate::CopyOptions::signers) and for files.
//!
//! A signature binds the digest of a manifest to a name. [`SimpleSigner`] makes OpenPGP messages, and [`SigstoreSigner`]
//! makes sigstore signatures with a key.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::time::SystemTime;

use vmroot_copy::ImageSigner;
use vmroot_model::{Digest, Reference};
use vmroot_openpgp::{Keyring, SigningKey};
use vmroot_sigstore::{PrivateKey, SIGNATURE_ANNOTATION, sign_payload};
use vmroot_trust::{Payload, PayloadKind, SIGSTORE_SIGNATURE_TYPE, Signature};

/// The program that signatures name as their maker.
const CREATOR: &str = concat!("vmroot ", env!("CARGO_PKG_VERSION"));

/// Makes OpenPGP signatures with a key.
#[derive(Debug)]
pub struct SimpleSigner(
    /// The key.
    pub SigningKey,
);

impl SimpleSigner {
    /// Returns the OpenPGP message that binds a manifest to a name.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn message(&self, manifest: &Digest, name: &str) -> vmroot_openpgp::Result<Vec<u8>> {
        let now = SystemTime::now();
        self.0.sign(&Payload::new(*manifest, name, CREATOR, now).to_bytes(PayloadKind::Simple), now)
    }
}

impl ImageSigner for SimpleSigner {
    fn sign(&self, manifest: &Digest, name: &Reference) -> Result<Signature, Box<dyn StdError + Send + Sync>> {
        Ok(Signature::Simple(self.message(manifest, &name.to_string())?))
    }
}

/// A verified OpenPGP signature of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedMessage {
    /// The fingerprint of the signer's primary key, in upper-case hex.
    pub fingerprint: String,
    /// The digest of the manifest.
    pub digest: Digest,
}

/// Verifies an OpenPGP message that binds a manifest to a name. `fingerprints` are those of the accepted signers; empty
/// accepts each key of the keyring.
///
/// # Errors
/// - [`ErrorKind::Integrity`](crate::ErrorKind::Integrity): the message is not by such a key, or is about another manifest
///   or name.
/// - [`ErrorKind::Usage`](crate::ErrorKind::Usage): the name is malformed.
pub fn verify_message(
    message: &[u8],
    manifest: &[u8],
    name: &str,
    keyring: &Keyring,
    fingerprints: &[String],
) -> crate::Result<VerifiedMessage> {
    let verified = keyring.verify(message, SystemTime::now())?;
    let wrong = |reason: String| crate::Error::from(vmroot_trust::Error::Payload { reason });
    let is_wanted = |wanted: &String| wanted.eq_ignore_ascii_case(&verified.fingerprint);
    if !fingerprints.is_empty() && !fingerprints.iter().any(is_wanted) {
        return Err(wrong(format!("it is signed by {}", verified.fingerprint)));
    }
    let payload = Payload::parse(&verified.content, PayloadKind::Simple)?;
    let digest = vmroot_model::manifest_digest(manifest).unwrap_or_else(|_| Digest::of(manifest));
    if payload.digest != digest && !vmroot_model::is_manifest_of(manifest, &payload.digest) {
        return Err(wrong(format!("it is about {}, not {digest}", payload.digest)));
    }
    let (wanted, signed) = (Reference::parse(name)?, Reference::parse(&payload.reference)?);
    if wanted.to_string() != signed.to_string() {
        return Err(wrong(format!("it is about the name {signed}, not {wanted}")));
    }
    Ok(VerifiedMessage { fingerprint: verified.fingerprint, digest: payload.digest })
}

/// Makes sigstore signatures with a private key.
#[derive(Debug)]
pub struct SigstoreSigner(
    /// The key.
    pub PrivateKey,
);

impl SigstoreSigner {
    /// Returns the sigstore signature that binds a manifest to a name.
    pub fn attachment(&self, manifest: &Digest, name: &str) -> Signature {
        let payload = Payload::new(*manifest, name, CREATOR, SystemTime::now()).to_bytes(PayloadKind::Sigstore);
        let annotations = BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), sign_payload(&self.0, &payload))]);
        Signature::Sigstore { mime_type: SIGSTORE_SIGNATURE_TYPE.to_owned(), payload, annotations }
    }
}

impl ImageSigner for SigstoreSigner {
    fn sign(&self, manifest: &Digest, name: &Reference) -> Result<Signature, Box<dyn StdError + Send + Sync>> {
        Ok(self.attachment(manifest, &name.to_string()))
    }
}
